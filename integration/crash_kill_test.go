package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What `make crash` sets; without them a few rounds are made.
const (
	crashRounds = "CRASH_ROUNDS" // at least so many
	crashTime   = "CRASH_TIME"   // at least so long
	crashSeed   = "CRASH_SEED"   // of the first chain of rounds
)

// crashChain is how many rounds one data directory lives.
const crashChain = 20

// crashPlan is what the environment asks for, few rounds if it does not.
type crashPlan struct {
	rounds int
	until  time.Time
	seed   uint64
}

func planCrashes(t *testing.T, few int) crashPlan {
	t.Helper()
	plan := crashPlan{rounds: few, seed: uint64(time.Now().UnixNano())}
	if text := os.Getenv(crashRounds); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("%s: %v", crashRounds, err)
		}
		plan.rounds = n
	}
	if text := os.Getenv(crashTime); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("%s: %v", crashTime, err)
		}
		plan.until = time.Now().Add(d)
	}
	if text := os.Getenv(crashSeed); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", crashSeed, err)
		}
		plan.seed = n
	}
	return plan
}

// chains calls each with a seed and a number of rounds until the plan is
// fulfilled or one has failed.
func (p crashPlan) chains(t *testing.T, each func(t *testing.T, seed uint64, rounds int)) {
	t.Helper()
	for done := 0; done < p.rounds || time.Now().Before(p.until); {
		rounds := crashChain
		if p.until.IsZero() || time.Now().After(p.until) {
			rounds = min(rounds, p.rounds-done)
		}
		seed := p.seed
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { each(t, seed, rounds) }) {
			t.Fatalf("reproduce with %s=%d", crashSeed, seed)
		}
		done += rounds
		p.seed++
		t.Logf("%d rounds survived", done)
	}
}

// crashRig is pvlog under load.
type crashRig struct {
	t     *testing.T
	rng   *rand.Rand
	posts *postings
	clerk *clerk
	s     *server
	must  []reached
	sure  time.Time // of the power cut: what was answered before holds
	tail  []reached // what the log had then, of which it may have lost the last
}

func newCrashRig(t *testing.T, seed uint64, data string) *crashRig {
	t.Helper()
	posts := newPostings(t, seed, 24)
	return &crashRig{
		t: t, rng: rand.New(rand.NewPCG(seed, 3)), posts: posts, clerk: newClerk(seed),
		s: newCrashServer(t, posts, data),
	}
}

// begin starts pvlog and lets it archive all that the IOC has.
func (r *crashRig) begin() {
	r.t.Helper()
	r.posts.begin()
	r.s.start()
	r.s.archive(r.posts.names()...)
	r.posts.follow(r.s)
}

// load runs the load for a while and ends pvlog in the middle of it, as end
// does. It gives what the log was seen to have.
func (r *crashRig) load(d time.Duration, end func()) []reached {
	r.t.Helper()
	watching := watchLog(r.s)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var running sync.WaitGroup
	rate := []int{300, 2000, 5000}[r.rng.IntN(3)]
	running.Go(func() { r.posts.run(ctx, rate) })
	running.Go(func() { r.clerk.run(ctx, r.s) })
	select {
	case <-time.After(d): // the moment is chance's, not an event's
	case <-r.s.process.ended:
		r.t.Errorf("pvlog ended by itself: %v\n%s", r.s.process.err, r.s.process.tail())
	}
	end()
	cancel()
	running.Wait()
	seen, err := watching.end()
	if err != nil {
		r.t.Errorf("the witness: %v", err)
	}
	return seen
}

// check lets pvlog, which runs and is connected, finish, ends it, and judges all
// there is. Commands of the clerk count if they were answered before an instant.
func (r *crashRig) check(before time.Time) {
	r.t.Helper()
	for _, b := range r.clerk.check(r.s, before) {
		r.t.Error(b)
	}
	if err := r.s.registryIsItsLog(); err != nil {
		r.t.Error(err)
	}
	drops := r.posts.settle(r.s)
	r.s.stop()
	r.judge(drops)
}

func (r *crashRig) judge(drops map[string][]rejected) {
	r.t.Helper()
	stored, err := readFiveMinutes(filepath.Join(r.s.data, "stores", "STS"))
	if err != nil {
		r.t.Error(err)
	}
	breaches, counts := r.posts.judge(outcome{stored: stored, drops: drops, must: r.must})
	for _, b := range breaches[:min(len(breaches), 20)] {
		r.t.Error(b)
	}
	r.lostTail(stored, drops)
	if lost := r.posts.ioc.Stats().Overwritten; lost > 0 {
		r.t.Errorf("the IOC itself lost %d updates: nothing can be judged", lost)
	}
	r.t.Logf("life %d: %v, %d breaches", r.posts.life, counts, len(breaches))
	if r.t.Failed() {
		r.t.FailNow()
	}
}

// lostTail shows what a power cut has cost of the log's tail.
func (r *crashRig) lostTail(stored map[string][]sample, drops map[string][]rejected) {
	there := map[string]bool{}
	for pv, samples := range stored {
		for _, s := range samples {
			there[pv+s.key()] = true
		}
	}
	lost, age := 0, time.Duration(0)
	for _, w := range r.tail {
		if !there[w.pv+w.key] && !slices.ContainsFunc(drops[w.pv], func(d rejected) bool { return d.has(w.sample) }) {
			lost, age = lost+1, max(age, r.sure.Sub(w.stored))
		}
	}
	if len(r.tail) > 0 {
		r.t.Logf("of %d samples in the log at the power cut %d are lost, the oldest was there for %v", len(r.tail), lost, age.Round(time.Millisecond))
	}
	r.tail = nil
}

// TestKillsAtRandomMomentsLoseNothing kills the real pvlog under load, at random
// moments, while it starts and while it stops. Each sample that was seen in the
// log is in a file or in the drop log with a true reason, once; per life of
// pvlog there is no gap; each answered command is in the registry.
func TestKillsAtRandomMomentsLoseNothing(t *testing.T) {
	planCrashes(t, 3).chains(t, func(t *testing.T, seed uint64, rounds int) {
		r := newCrashRig(t, seed, filepath.Join(t.TempDir(), "data"))
		for range rounds {
			r.begin()
			r.must = append(r.must, r.load(time.Duration(r.rng.Int64N(int64(2*time.Second))), func() {
				if r.rng.IntN(4) == 0 { // in the middle of an end in order
					_ = r.s.process.cmd.Process.Signal(syscall.SIGTERM)
					select {
					case <-time.After(time.Duration(r.rng.Int64N(int64(300 * time.Millisecond)))):
					case <-r.s.process.ended:
					}
				}
				r.s.kill()
			})...)
			for r.rng.IntN(3) == 0 { // in the middle of a start
				r.posts.begin()
				r.startAndKill(time.Duration(r.rng.Int64N(int64(800 * time.Millisecond))))
			}
			r.posts.begin()
			r.s.start()
			r.posts.follow(r.s)
			r.check(time.Now())
		}
	})
}

// startAndKill runs pvlog for a moment only.
func (r *crashRig) startAndKill(d time.Duration) {
	r.t.Helper()
	binary, err := pvlogBinary()
	if err != nil {
		r.t.Fatal(err)
	}
	args := append([]string{"serve", "--data", r.s.data, "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0"}, r.s.args...)
	p := startProcess(r.t, "pvlog, killed at its start", binary, args, r.s.env)
	select {
	case <-time.After(d):
	case <-p.ended:
		r.t.Fatalf("pvlog does not start: %v\n%s", p.err, p.tail())
	}
	_ = p.end(syscall.SIGKILL)
}
