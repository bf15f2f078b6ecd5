package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pvlog/schema"
	"pvlog/streams"
)

// newCrashServer gives a server for the load, on a data directory.
func newCrashServer(t *testing.T, p *postings, data string) *server {
	t.Helper()
	config := filepath.Join(t.TempDir(), "pvlog.yaml")
	if err := os.WriteFile(config, []byte(crashYAML), 0o644); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, []string{"EPICS_CA_ADDR_LIST=" + p.addr, "EPICS_CA_AUTO_ADDR_LIST=NO"}, "--config", config)
	s.data, s.losses = data, true
	return s
}

// witness follows the log as any client may, so that there is a record of what
// had reached it that pvlog's own recovery has no part in.
type witness struct {
	nc   *nats.Conn
	done chan struct{}

	mu   sync.Mutex
	seen []reached
	err  error
}

// watchLog begins to follow with what comes now.
func watchLog(s *server) *witness {
	s.t.Helper()
	w := &witness{done: make(chan struct{})}
	var err error
	if w.nc, err = nats.Connect("nats://"+s.nats, nats.NoReconnect()); err != nil {
		s.t.Fatalf("connect the witness: %v", err)
	}
	js, err := jetstream.New(w.nc)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	consumer, err := js.OrderedConsumer(ctx, streams.SamplesStream, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy})
	if err != nil {
		s.t.Fatalf("follow the log: %v", err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		s.t.Fatalf("follow the log: %v", err)
	}
	go func() {
		defer close(w.done)
		defer messages.Stop()
		for {
			m, err := messages.Next()
			if err != nil {
				return // the server is gone
			}
			w.take(m)
		}
	}()
	return w
}

func (w *witness) take(m jetstream.Msg) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, pv, err := streams.ParseSubject(m.Subject())
	if err != nil {
		w.err = err
		return
	}
	samples, part, err := schema.DecodeSampleMessage(m.Data(), nil)
	if err != nil || part != nil {
		w.err = errors.Join(err, fmt.Errorf("part %v", part))
		return
	}
	meta, err := m.Metadata()
	if err != nil {
		w.err = err
		return
	}
	for _, raw := range samples {
		s, err := parseSample(raw.Type, raw.Year, raw.Event)
		if err != nil {
			w.err = err
			return
		}
		w.seen = append(w.seen, reached{pv: string(pv), key: s.key(), sample: s, seq: meta.Sequence.Stream, stored: meta.Timestamp})
	}
}

// end gives what the log had, once the server is gone.
func (w *witness) end() ([]reached, error) {
	w.nc.Close()
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen, w.err
}

// clerk gives registry commands for PVs that no IOC has, one at a time, and
// remembers what was answered.
type clerk struct {
	rng *rand.Rand
	mu  sync.Mutex
	pvs map[string][]entry
}

// entry is a command of the clerk: the state it leads to.
type entry struct {
	state    string // absent, archiving or paused
	answered time.Time
}

func newClerk(seed uint64) *clerk {
	c := &clerk{rng: rand.New(rand.NewPCG(seed, 2)), pvs: map[string][]entry{}}
	for i := range 12 {
		c.pvs[fmt.Sprintf("clerk:%d:V", i)] = []entry{{state: "absent", answered: time.Unix(0, 0)}}
	}
	return c
}

// run gives commands until ctx ends.
func (c *clerk) run(ctx context.Context, s *server) {
	names := slices.Sorted(maps.Keys(c.pvs))
	for ctx.Err() == nil {
		pv := names[c.rng.IntN(len(names))]
		c.mu.Lock()
		history := c.pvs[pv]
		verb, next := c.choose(history[len(history)-1].state)
		c.pvs[pv] = append(history, entry{state: next})
		c.mu.Unlock()
		if !s.order(ctx, verb, pv) {
			return
		}
		c.mu.Lock()
		history = c.pvs[pv]
		history[len(history)-1].answered = time.Now()
		c.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(c.rng.Int64N(int64(20 * time.Millisecond)))):
		}
	}
}

func (c *clerk) choose(state string) (verb, next string) {
	switch {
	case state == "absent":
		return "archivePV", "archiving"
	case state == "archiving":
		return "pauseArchivingPV", "paused"
	case c.rng.IntN(2) == 0:
		return "deletePV", "absent"
	}
	return "resumeArchivingPV", "archiving"
}

// order gives one command and reports whether it was answered.
func (s *server) order(ctx context.Context, verb, pv string) bool {
	at := "http://" + s.http + "/mgmt/bpl/" + verb + "?" + url.Values{"pv": {pv}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return false
	}
	response, err := httpClient.Do(request)
	if err != nil {
		return false
	}
	defer func() { _ = response.Body.Close() }()
	var answer any
	return json.NewDecoder(response.Body).Decode(&answer) == nil && response.StatusCode == http.StatusOK
}

// check compares the registry with what was answered before an instant. What
// was not answered by then may have happened or not.
func (c *clerk) check(s *server, before time.Time) (breaches []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for pv, history := range c.pvs {
		sure := 0
		for i, e := range history {
			if !e.answered.IsZero() && e.answered.Before(before) {
				sure = i
			}
		}
		found := s.registryState(pv)
		possible := history[sure:]
		if !slices.ContainsFunc(possible, func(e entry) bool { return e.state == found }) {
			breaches = append(breaches, fmt.Sprintf("%s is %s in the registry, answered was %s, and not yet answered %d more", pv, found, possible[0].state, len(possible)-1))
		}
		c.pvs[pv] = []entry{{state: found, answered: time.Unix(0, 0)}}
	}
	return breaches
}

func (s *server) registryState(pv string) string {
	body, err := s.get("/api/v1/pvs/"+url.PathEscape(pv), nil)
	if err != nil {
		if strings.Contains(err.Error(), "404") {
			return "absent"
		}
		return err.Error()
	}
	var info struct{ State string }
	if err := json.Unmarshal(body, &info); err != nil {
		return err.Error()
	}
	return info.State
}

// registryIsItsLog has the server replay its registry's log and compare.
func (s *server) registryIsItsLog() error {
	response, err := httpClient.Post("http://"+s.http+"/api/v1/registry/verify", "application/json", nil)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		OK bool `json:"ok"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || !answer.OK {
		return fmt.Errorf("the registry is not what its log says: %s, %+v", response.Status, answer)
	}
	return nil
}

// follow waits until pvlog follows every record: a post after that reaches it.
func (p *postings) follow(s *server) {
	p.t.Helper()
	s.awaitConnected(p.names()...)
	p.awaitLast(s)
	p.connected()
}

// awaitLast posts one more value of every record, which is certainly kept, and
// waits until all are archived.
func (p *postings) awaitLast(s *server) {
	p.t.Helper()
	for _, pv := range p.pvs {
		for p.post(pv); !pv.posts[len(pv.posts)-1].newer; {
			p.post(pv)
		}
	}
	for _, pv := range p.pvs {
		last := pv.posts[len(pv.posts)-1].at
		s.waitUntil(time.Minute, "the last post of "+pv.name, func() error {
			from := last.Go().UTC().Format(time.RFC3339Nano)
			body, err := s.get("/retrieval/data/getData.raw", url.Values{"pv": {pv.name}, "from": {from}, "to": {from}})
			if err != nil {
				return err
			}
			chunks, err := parseRaw(body)
			if err != nil {
				return err
			}
			for _, c := range chunks {
				if slices.ContainsFunc(c.samples, func(s sample) bool { return s.at == last }) {
					return nil
				}
			}
			return errors.New("it is not there")
		})
	}
}

// settle waits until the last post of every record is archived and gives the
// drop log.
func (p *postings) settle(s *server) map[string][]rejected {
	p.t.Helper()
	p.awaitLast(s)
	drops := map[string][]rejected{}
	var list []rejected
	// what was taken before the last posts has its drops published in the same step
	if err := s.getJSON("/api/v1/drops", url.Values{"pv": {"crash:*"}, "limit": {"100000"}}, &list); err != nil {
		p.t.Fatal(err)
	}
	for _, d := range list {
		drops[d.PV] = append(drops[d.PV], d)
	}
	return drops
}

// readFiveMinutes is readStore for partitions of five minutes.
func readFiveMinutes(root string) (map[string][]sample, error) {
	var paths []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasPrefix(d.Name(), ".") {
			paths = append(paths, path)
		}
		return err
	})
	slices.Sort(paths)
	store := map[string][]sample{}
	for _, path := range paths {
		content, readErr := os.ReadFile(path)
		if readErr != nil {
			return nil, readErr
		}
		pv, samples, parseErr := parsePartition(content)
		if parseErr == nil {
			parseErr = checkFiveMinutes(root, path, pv, samples)
		}
		if parseErr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", path, parseErr))
			continue
		}
		store[pv] = append(store[pv], samples...)
	}
	return store, err
}

func checkFiveMinutes(root, path, pv string, samples []sample) error {
	if len(samples) == 0 {
		return errors.New("a header and no sample")
	}
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return err
	}
	for _, s := range []sample{samples[0], samples[len(samples)-1]} {
		want := strings.ReplaceAll(pv, ":", "/") + ":" + s.at.Go().Truncate(5*time.Minute).Format("2006_01_02_15_04") + ".pb"
		if filepath.ToSlash(rel) != want {
			return fmt.Errorf("holds a sample of %s", want)
		}
	}
	return nil
}

// healthProblems is what /healthz tells, whatever its status.
func (s *server) healthProblems(t testing.TB) string {
	t.Helper()
	response, err := httpClient.Get("http://" + s.http + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var health struct{ Faults []json.RawMessage }
	if err := json.NewDecoder(response.Body).Decode(&health); err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, f := range health.Faults {
		text = append(text, string(f))
	}
	return strings.Join(text, "; ")
}
