package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
	"pvlog/schema"
)

// crashYAML makes partitions of five minutes, and lets the IOC's clock be long
// ago: it runs fast, so that partitions end all the time.
const crashYAML = `
drift: {past: 9000h, future: 30m}
stores: [{name: STS, granularity: PARTITION_5MIN}]
log: {max_bytes: 1000000000, limit_bytes: 2000000000}
drops: {max_bytes: 100000000}
`

// crashFuture is the drift window of crashYAML.
const crashFuture = 30 * time.Minute

// posting is one value that the IOC posted.
type posting struct {
	sample
	life  int       // of pvlog, in which it was posted
	seen  time.Time // when
	newer bool      // later than all posted before it
	again bool      // the one before, posted once more
}

// postedPV is one record of the load and all that was posted of it.
type postedPV struct {
	name  string
	dbr   ca.DBR
	count int
	clock schema.Time
	posts []posting
	// from is, for each life, the number of the posts before pvlog was known to
	// be connected: all from that one on have to reach it.
	from map[int]int
}

// postings is an IOC, and its record of what it posted. Lives of pvlog are
// counted by its user; posts are made by one goroutine.
type postings struct {
	t    testing.TB
	rng  *rand.Rand
	ioc  *simioc.IOC
	addr string

	mu    sync.Mutex // guards what follows
	life  int
	pvs   []*postedPV
	loose map[int]time.Time // lives that ended by a power cut: of what was posted later any may be lost
}

// newPostings runs an IOC with pvs records of all kinds.
func newPostings(t *testing.T, seed uint64, pvs int) *postings {
	t.Helper()
	p := &postings{t: t, rng: rand.New(rand.NewPCG(seed, 1)), loose: map[int]time.Time{}}
	kinds := []struct {
		dbr   ca.DBR
		count int
	}{{ca.DBRDouble, 1}, {ca.DBRLong, 1}, {ca.DBRString, 1}, {ca.DBRDouble, 7}, {ca.DBRFloat, 1}, {ca.DBRLong, 300}}
	start := schema.TimeOf(time.Now().Add(-8000 * time.Hour))
	var records []simioc.Record
	for i := range pvs {
		k := kinds[i%len(kinds)]
		pv := &postedPV{name: fmt.Sprintf("crash:%d:V", i), dbr: k.dbr, count: k.count, clock: start, from: map[int]int{}}
		p.pvs = append(p.pvs, pv)
		records = append(records, simioc.Record{Name: pv.name, Type: k.dbr, Count: k.count, MDEL: -1, ADEL: -1})
	}
	p.ioc = simioc.New(simioc.Options{Listen: "127.0.0.1:0", Records: records, QueueBytes: 64 << 20})
	p.addr = runIOC(t, p.ioc)
	for _, pv := range p.pvs {
		p.post(pv) // the value that a subscription gets first
	}
	return p
}

func (p *postings) names() []string {
	var names []string
	for _, pv := range p.pvs {
		names = append(names, pv.name)
	}
	return names
}

// value is the n-th of a record, as the IOC takes it and as it is stored.
func (pv *postedPV) value(n int) (given any, dbr schema.DBRType, stored any) {
	switch {
	case pv.dbr == ca.DBRString:
		text := strconv.Itoa(n) + "\n\x1b\r é"
		return text, schema.ScalarString, text
	case pv.dbr == ca.DBRFloat:
		return float32(n), schema.ScalarFloat, float32(n)
	case pv.dbr == ca.DBRLong && pv.count == 1:
		return int32(n), schema.ScalarInt, int32(n)
	case pv.dbr == ca.DBRLong:
		list := make([]int32, pv.count)
		for i := range list {
			list[i] = int32(n*0x01010a0d + i)
		}
		return list, schema.WaveformInt, list
	case pv.count > 1:
		list := make([]float64, pv.count)
		for i := range list {
			list[i] = float64(n) / float64(i+1)
		}
		return list, schema.WaveformDouble, list
	}
	return float64(n), schema.ScalarDouble, float64(n)
}

// post posts one more value of a record: mostly a later one, at times one from
// before, from before 1991, from the far future, or the last once more.
func (p *postings) post(pv *postedPV) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(pv.posts)
	var next posting
	given, dbr, value := pv.value(n)
	next.sample = sample{dbr: dbr, value: value, severity: int32(n % 3), status: int32(n % 3)}
	pv.clock = schema.TimeOf(pv.clock.Go().Add(time.Duration(1 + p.rng.Int64N(int64(4*time.Second)))))
	next.at, next.newer = pv.clock, true
	odd := 99
	if n > 3 {
		odd = p.rng.IntN(40)
	}
	switch odd {
	case 0:
		next.at, next.newer = schema.TimeOf(pv.clock.Go().Add(-time.Duration(p.rng.Int64N(int64(5*time.Minute))))), false
	case 1:
		next.at, next.newer = schema.Time{Sec: 631152000 + int64(n), Nsec: uint32(n)}, false
	case 2:
		next.at, next.newer = schema.TimeOf(time.Now().Add(3*time.Hour)), false
	case 3:
		if last := pv.posts[n-1]; last.newer {
			next, given = last, p.given(pv, n-1)
			next.newer, next.again = false, true
		}
	}
	next.life, next.seen = p.life, time.Now()
	pv.posts = append(pv.posts, next)
	err := p.ioc.Put(pv.name, given, simioc.WithTime(next.at), simioc.WithAlarm(int16(next.severity), int16(next.status)))
	if err != nil {
		p.t.Error(err)
	}
}

func (p *postings) given(pv *postedPV, n int) any {
	given, _, _ := pv.value(n)
	return given
}

// run posts until ctx ends, in bursts, about so many values per second.
func (p *postings) run(ctx context.Context, rate int) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for range rate / 100 {
				p.post(p.pvs[p.rng.IntN(len(p.pvs))])
			}
		}
	}
}

// begin counts a new life of pvlog.
func (p *postings) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.life++
}

// connected notes that pvlog monitors all records.
func (p *postings) connected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pv := range p.pvs {
		pv.from[p.life] = len(pv.posts)
	}
}

// lostPower notes that the present life ended by a power cut, and the instant up
// to which the log was synced.
func (p *postings) lostPower(synced time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loose[p.life] = synced
}

// reached is a sample that was seen in the log, and when the log stored it.
type reached struct {
	pv     string
	key    string
	sample sample
	seq    uint64
	stored time.Time
}

// rejected is one entry of the drop log.
type rejected struct {
	PV       string          `json:"pv"`
	Reason   string          `json:"reason"`
	Detail   string          `json:"detail"`
	Secs     int64           `json:"secs"`
	Nanos    uint32          `json:"nanos"`
	Severity int32           `json:"severity"`
	Status   int32           `json:"status"`
	Value    json.RawMessage `json:"value"`
	Position struct {
		Sequence uint64
		Index    int
	} `json:"position"`
}

func (d rejected) at() schema.Time { return schema.Time{Sec: d.Secs, Nsec: d.Nanos} }

func (d rejected) has(s sample) bool {
	return d.at() == s.at && d.Severity == s.severity && equalsJSON(s.value, d.Value)
}

// outcome is what is there in the end, to be judged by what was posted.
type outcome struct {
	stored map[string][]sample
	drops  map[string][]rejected
	must   []reached // these have to be there
}

// judge gives the breaches of the promise. The record of what was posted is all
// it goes by: which samples reached the log shows in the outcome, and within a
// life of pvlog they must be without a gap.
func (p *postings) judge(o outcome) (breaches []string, counts map[string]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts = map[string]int{}
	must := map[string]map[string]reached{}
	for _, r := range o.must {
		if must[r.pv] == nil {
			must[r.pv] = map[string]reached{}
		}
		must[r.pv][r.key] = r
	}
	known := map[string]bool{}
	for _, pv := range p.pvs {
		known[pv.name] = true
		j := postJudge{pv: pv, life: p.life, stored: o.stored[pv.name], drops: o.drops[pv.name], must: must[pv.name], counts: counts, loose: p.loose}
		j.judge()
		breaches = append(breaches, j.breaches...)
	}
	for name := range o.stored {
		if !known[name] {
			breaches = append(breaches, name+": stored, and nobody posted it")
		}
	}
	return breaches, counts
}

// postJudge judges one PV.
type postJudge struct {
	pv     *postedPV
	life   int
	stored []sample
	drops  []rejected
	must   map[string]reached
	counts map[string]int
	loose  map[int]time.Time

	kept     map[string]int // key: how often it is stored
	gone     map[string]int // key: how often it is dropped
	breaches []string
}

func (j *postJudge) breach(format string, args ...any) {
	if len(j.breaches) < 5 {
		j.breaches = append(j.breaches, j.pv.name+": "+fmt.Sprintf(format, args...))
	}
}

func (j *postJudge) judge() {
	j.kept, j.gone = map[string]int{}, map[string]int{}
	posted := map[string]int{}
	for i, q := range j.pv.posts {
		if _, ok := posted[q.key()]; !ok {
			posted[q.key()] = i
		}
	}
	for i, s := range j.stored {
		j.kept[s.key()]++
		if _, ok := posted[s.key()]; !ok {
			j.breach("stored, and was never posted: %v", s)
		}
		if i > 0 && !s.at.After(j.stored[i-1].at) {
			j.breach("stored %v behind %v", s, j.stored[i-1])
		}
	}
	for _, d := range j.drops {
		j.drop(d)
	}
	for key, n := range j.gone {
		if n > 1+j.life {
			j.breach("dropped %d times in %d lives: %s", n, j.life, key)
		}
		if j.kept[key] > 0 {
			j.breach("stored and dropped: %s", key)
		}
	}
	j.gaps()
	for key, r := range j.must {
		if j.kept[key]+j.gone[key] == 0 {
			j.breach("message %d of the log, stored there at %v, is neither in a file nor a drop: %s", r.seq, r.stored.UTC(), key)
		}
	}
	j.counts["posted"] += len(j.pv.posts)
	j.counts["stored"] += len(j.stored)
	j.counts["dropped"] += len(j.drops)
	j.counts["witnessed"] += len(j.must)
}

// drop finds the post of a drop and holds its reason against the record.
func (j *postJudge) drop(d rejected) {
	newest := schema.Time{} // of what was posted before, and is stored
	for _, q := range j.pv.posts {
		key := q.key()
		if d.has(q.sample) {
			j.gone[key]++
			j.reason(d, q, newest)
			return
		}
		if j.kept[key] > 0 && q.at.After(newest) {
			newest = q.at
		}
	}
	j.breach("dropped for %s, and was never posted: %+v", d.Reason, d)
}

func (j *postJudge) reason(d rejected, q posting, newest schema.Time) {
	ok := false
	switch d.Reason {
	case "before_1991":
		ok = q.at.Sec < schema.Floor
	case "drift_future":
		ok = q.at.Go().After(q.seen.Add(crashFuture))
	case "order":
		ok = !q.at.After(newest)
	}
	if !ok {
		j.breach("dropped for %s (%s), which is not true: %v, newest stored before it %v", d.Reason, d.Detail, q.sample, newest)
	}
}

// gaps requires of each life that what reached the log is one stretch of what
// was posted, from the moment on at which pvlog was connected.
func (j *postJudge) gaps() {
	posts := j.pv.posts
	// The newest post of each life that is somewhere; but not the last one of all:
	// the IOC may have posted that when pvlog was gone, and the next life got it.
	last := map[int]int{}
	for i, q := range posts {
		present := i+1 == len(posts) || posts[i+1].life != q.life ||
			posts[i+1].again && (i+2 == len(posts) || posts[i+2].life != q.life)
		if j.kept[q.key()]+j.gone[q.key()] > 0 && !q.again && !present {
			last[q.life] = i
		}
	}
	for life, from := range j.pv.from {
		end, any := last[life]
		if life == j.life {
			end, any = len(posts)-1, true // pvlog was let finish
		}
		for i := from; any && i <= end && i < len(posts); i++ {
			if synced, cut := j.loose[life]; cut && posts[i].seen.After(synced) {
				break
			}
			if key := posts[i].key(); j.kept[key]+j.gone[key] == 0 {
				j.breach("post %d of life %d is nowhere, while %d is: %v", i, life, end, posts[i].sample)
				break
			}
		}
	}
}

// TestThePostJudgeSeesEachBreach turns each promise into its breach.
func TestThePostJudgeSeesEachBreach(t *testing.T) {
	p := newPostings(t, 3, 1)
	pv := p.pvs[0]
	p.begin()
	p.connected()
	for range 200 {
		p.post(pv)
	}
	sound := func() outcome {
		o := outcome{stored: map[string][]sample{}, drops: map[string][]rejected{}}
		for _, q := range pv.posts {
			switch {
			case q.again:
			case q.newer:
				o.stored[pv.name] = append(o.stored[pv.name], q.sample)
			default:
				text, _ := json.Marshal(q.value)
				d := rejected{PV: pv.name, Secs: q.at.Sec, Nanos: q.at.Nsec, Severity: q.severity, Status: q.status, Value: text, Reason: "order"}
				if q.at.Sec < schema.Floor {
					d.Reason = "before_1991"
				} else if q.at.Go().After(time.Now()) {
					d.Reason = "drift_future"
				}
				o.drops[pv.name] = append(o.drops[pv.name], d)
			}
		}
		return o
	}
	if breaches, counts := p.judge(sound()); len(breaches) > 0 || counts["dropped"] < 5 {
		t.Fatalf("%v, %v", breaches, counts)
	}
	for name, change := range map[string]func(o outcome) outcome{
		"one lost": func(o outcome) outcome {
			s := o.stored[pv.name]
			o.stored[pv.name] = append(s[:50:50], s[51:]...)
			return o
		},
		"the last lost": func(o outcome) outcome { s := o.stored[pv.name]; o.stored[pv.name] = s[:len(s)-1]; return o },
		"one twice": func(o outcome) outcome {
			s := o.stored[pv.name]
			o.stored[pv.name] = append(s[:50:50], s[49:]...)
			return o
		},
		"an invented one": func(o outcome) outcome { o.stored[pv.name][50].at.Nsec++; return o },
		"another value":   func(o outcome) outcome { o.stored[pv.name][50].value = 1.5; return o },
		"a drop lost":     func(o outcome) outcome { o.drops[pv.name] = o.drops[pv.name][1:]; return o },
		"a wrong reason":  func(o outcome) outcome { o.drops[pv.name][0].Reason = "file"; return o },
		"a drop and a line": func(o outcome) outcome {
			s := o.stored[pv.name][9]
			text, _ := json.Marshal(s.value)
			o.drops[pv.name] = append(o.drops[pv.name], rejected{Secs: s.at.Sec, Nanos: s.at.Nsec, Severity: s.severity, Value: text, Reason: "order"})
			return o
		},
		"a drop thrice": func(o outcome) outcome { d := o.drops[pv.name]; o.drops[pv.name] = append(d, d[0], d[0]); return o },
		"a witnessed one": func(o outcome) outcome {
			o.must = []reached{{pv: pv.name, key: "elsewhere"}}
			return o
		},
		"a foreign PV": func(o outcome) outcome { o.stored["other"] = nil; return o },
	} {
		if breaches, _ := p.judge(change(sound())); len(breaches) == 0 {
			t.Errorf("%s: no breach is seen", name)
		}
	}
}
