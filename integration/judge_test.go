package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pvlog/schema"
)

// driftWindow is how far an IOC's clock may be off, as `pvlog config` has it.
const driftWindow = 30 * time.Minute

// clockSlack is the difference allowed between when the witness and when pvlog
// received the same update.
const clockSlack = 5 * time.Second

// drop is one entry of the drop log as /api/v1/drops tells it.
type drop struct {
	PV       string          `json:"pv"`
	Reason   string          `json:"reason"`
	Secs     int64           `json:"secs"`
	Nanos    uint32          `json:"nanos"`
	Severity int32           `json:"severity"`
	Status   int32           `json:"status"`
	Value    json.RawMessage `json:"value"`
}

func (d drop) at() schema.Time { return schema.Time{Sec: d.Secs, Nsec: d.Nanos} }

func (d drop) is(s sample) bool {
	return d.at() == s.at && d.Severity == s.severity && d.Status == s.status && equalsJSON(s.value, d.Value)
}

// span is a stretch of wall clock in which pvlog certainly had its monitor.
type span struct{ from, to time.Time }

// evidence is what is known of one PV when it is judged.
type evidence struct {
	pv      string
	updates []update // all that the witness saw, in order of arrival
	stored  []sample // the partition files, oldest first
	drops   []drop
	spans   []span
	// connections is how often pvlog connected. A server sends its present
	// value with each subscription, posted or not: so often may a sample be
	// one that the witness, connected before, was not sent.
	connections int
	// silent is set for a record whose value also changes without an event of
	// this mask (deadbands; fanout, seq and event post alarms only): such a
	// present value is then new to the witness, otherwise only its time is.
	silent bool
}

// findings are breaches of the promise and what was found beside them.
type findings struct {
	breaches  []string
	judged    int // updates that had to be somewhere
	stored    int // of these, in partition files
	dropped   int // of these, in the drop log
	collapsed int // of these, sent to the witness alone, see collapsed
	present   int // stored or dropped samples that are a present value
}

// judge holds pvlog to its promise: every update of the spans is stored or
// dropped for a reason that is true, and nothing else is anywhere.
func judge(e evidence) findings {
	j := judgement{evidence: e, known: map[string]int{}, kept: map[string]bool{}}
	for i, u := range e.updates {
		j.known[u.key()] = i
	}
	for _, s := range e.stored {
		if j.kept[s.key()] {
			j.breach("stored twice: %v", s)
		}
		j.kept[s.key()] = true
	}
	for i, u := range e.updates {
		if e.covers(u.seen) {
			j.update(i, u)
		}
	}
	for _, s := range e.stored {
		if _, ok := j.known[s.key()]; !ok {
			j.foreign(s, "stored")
		}
	}
	for _, d := range e.drops {
		j.drop(d)
	}
	j.bounds()
	return j.found
}

type judgement struct {
	evidence
	known map[string]int  // key of an update: its newest place in updates
	kept  map[string]bool // keys in the files
	found findings
}

func (j *judgement) breach(format string, args ...any) {
	j.found.breaches = append(j.found.breaches, j.pv+": "+fmt.Sprintf(format, args...))
}

func (e evidence) covers(seen time.Time) bool {
	return slices.ContainsFunc(e.spans, func(s span) bool { return !seen.Before(s.from) && !seen.After(s.to) })
}

// somewhere reports whether an update is stored or dropped.
func (j *judgement) somewhere(u update) bool {
	return j.kept[u.key()] || slices.ContainsFunc(j.drops, func(d drop) bool { return d.is(u.sample) })
}

func (j *judgement) update(i int, u update) {
	j.found.judged++
	switch {
	case j.kept[u.key()]:
		j.found.stored++
	case j.somewhere(u):
		j.found.dropped++
	case j.collapsed(i):
		j.found.collapsed++
	default:
		j.breach("update %d is nowhere: %v, seen %v", i, u, u.seen.UTC().Format(time.RFC3339Nano))
	}
}

// collapsed reports whether an IOC may have sent pvlog the next update in
// place of this one: of strings and arrays a server queues no copy, it sends
// the content of the moment of sending, so two posts close together may reach
// one client as the same content twice and another as two (rsrv, dbEvent.c).
func (j *judgement) collapsed(i int) bool {
	u := j.updates[i]
	if u.dbr != schema.ScalarString && !u.dbr.Waveform() || i+1 == len(j.updates) {
		return false
	}
	next := j.updates[i+1]
	return next.seen.Sub(u.seen) < time.Second && j.somewhere(next)
}

// foreign judges a sample that the witness did not see: a present value of one
// of pvlog's connections, or the other side of a collapse.
func (j *judgement) foreign(s sample, where string) {
	before := -1 // the newest update of those older than s: an IOC that restarts begins in 1990
	for i, u := range j.updates {
		if s.at.After(u.at) && (before < 0 || !j.updates[before].at.After(u.at)) {
			before = i
		}
	}
	switch {
	case before < 0 && !j.silent:
		j.breach("%s, and the witness saw nothing so old: %v; %s", where, s, j.around(before))
	case !j.silent && valueKey(j.updates[before].value) != valueKey(s.value) && !j.repeated(before+1):
		j.breach("%s, and the witness did not see it: %v; %s", where, s, j.around(before))
	default:
		j.found.present++
	}
}

// around shows what the witness saw about update i.
func (j *judgement) around(i int) string {
	var lines []string
	for n := max(0, i-1); n <= min(i+2, len(j.updates)-1); n++ {
		lines = append(lines, fmt.Sprintf("%d: %v, seen %v", n, j.updates[n], j.updates[n].seen.UTC().Format(time.RFC3339Nano)))
	}
	return "the witness saw " + strings.Join(lines, "; ")
}

// repeated reports whether the witness was sent update i twice.
func (j *judgement) repeated(i int) bool {
	return i > 0 && i+1 < len(j.updates) && j.updates[i].key() == j.updates[i+1].key()
}

// drop requires that a dropped sample was sent by the IOC, is not stored as
// well, and has a reason that is true.
func (j *judgement) drop(d drop) {
	i := slices.IndexFunc(j.updates, func(u update) bool { return d.is(u.sample) })
	if i < 0 {
		j.found.present++
		if len(j.updates) > 0 && !j.silent && !slices.ContainsFunc(j.updates, func(u update) bool { return equalsJSON(u.value, d.Value) }) {
			j.breach("dropped for %s, and the witness never saw this value: %+v", d.Reason, d)
		}
		return
	}
	u := j.updates[i]
	if j.kept[u.key()] {
		j.breach("dropped for %s although it is stored: %v", d.Reason, u)
	}
	if why := j.untrue(d, u); why != "" {
		j.breach("dropped for %s, but %s: %v, seen %v", d.Reason, why, u, u.seen.UTC().Format(time.RFC3339Nano))
	}
}

// untrue says why a drop's reason does not hold, "" if it does.
func (j *judgement) untrue(d drop, u update) string {
	at, seen := d.at().Go(), u.seen
	switch d.Reason {
	case "before_1991":
		if d.Secs >= schema.Floor {
			return "it is later"
		}
	case "drift_future":
		if at.Before(seen.Add(driftWindow - clockSlack)) {
			return "its time is inside the window"
		}
	case "drift_past":
		if at.After(seen.Add(-driftWindow + clockSlack)) {
			return "its time is inside the window"
		}
	case "nanos":
		if d.at().Legal() {
			return "its nanoseconds are legal"
		}
	case "order":
		if !slices.ContainsFunc(j.stored, func(s sample) bool { return !d.at().After(s.at) }) {
			return "no stored sample is as late"
		}
	case "type":
		if !u.dbr.Waveform() || string(d.Value) != "[]" {
			return "its PV can hold it"
		}
	default:
		return "no IOC of these tests gives cause for that"
	}
	return ""
}

// bounds keeps what is excused rare.
func (j *judgement) bounds() {
	if j.found.present > j.connections {
		j.breach("%d samples that the witness was not sent, with %d connections", j.found.present, j.connections)
	}
	if most := 1 + j.found.judged/50; j.found.collapsed > most {
		j.breach("%d of %d updates are missing where a later one stands, more than the %d that an IOC may have sent only to the witness",
			j.found.collapsed, j.found.judged, most)
	}
}

// judgeAll judges every PV of the witness and fails the test on any breach.
func judgeAll(t testing.TB, all []evidence) {
	t.Helper()
	var sum findings
	breaches := 0
	for _, e := range all {
		found := judge(e)
		sum.judged += found.judged
		sum.stored += found.stored
		sum.dropped += found.dropped
		sum.collapsed += found.collapsed
		sum.present += found.present
		for _, b := range found.breaches[:min(len(found.breaches), 5)] {
			t.Error(b)
		}
		breaches += len(found.breaches)
	}
	if sum.judged == 0 {
		t.Error("no update fell into the spans: nothing was judged")
	}
	t.Logf("%d PVs: %d updates judged, %d stored, %d dropped, %d collapsed by the IOC, %d present values, %d breaches",
		len(all), sum.judged, sum.stored, sum.dropped, sum.collapsed, sum.present, breaches)
}

// gather joins what each source tells of the PVs that the witness watched.
func gather(records map[string]*record, stored map[string][]sample, drops map[string][]drop, spans []span, connections int, silent []string) []evidence {
	var all []evidence
	for _, pv := range slices.Sorted(maps.Keys(records)) {
		all = append(all, evidence{
			pv: pv, updates: records[pv].updates, stored: stored[pv], drops: drops[pv],
			spans: spans, connections: connections, silent: slices.Contains(silent, pv),
		})
	}
	return all
}

// unwatched gives the PVs that something is stored of and nobody watched.
func unwatched(records map[string]*record, stored map[string][]sample) []string {
	var names []string
	for pv := range stored {
		if records[pv] == nil {
			names = append(names, pv)
		}
	}
	return names
}

func TestJudgeSeesEachBreach(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	up := func(second int, value any) update {
		dbr := schema.ScalarDouble
		if _, text := value.(string); text {
			dbr = schema.ScalarString
		}
		at := start.Add(time.Duration(second) * time.Second)
		return update{sample: sample{at: schema.TimeOf(at), dbr: dbr, value: value}, seen: at}
	}
	dropped := func(u update, reason string) drop {
		value, _ := json.Marshal(u.value)
		return drop{Reason: reason, Secs: u.at.Sec, Nanos: u.at.Nsec, Value: value}
	}
	one, two, three := up(1, 1.0), up(2, 2.0), up(3, 3.0)
	other := two
	other.severity = 1
	late, early, old := three, up(5000, 5.0), three
	late.at.Sec, late.value = one.at.Sec, 9.0
	early.seen = start
	old.at.Sec = 631152000
	text, soon := up(1, "a"), up(1, "b")
	soon.at.Nsec, soon.seen = 5e8, start.Add(1500*time.Millisecond)
	for name, c := range map[string]struct {
		updates []update
		stored  []update
		drops   []drop
		more    int // connections
		silent  bool
		want    string // of the breach, "" for none
	}{
		"all stored":                  {updates: []update{one, two, three}, stored: []update{one, two, three}},
		"one lost":                    {updates: []update{one, two, three}, stored: []update{one, three}, want: "nowhere"},
		"other severity":              {updates: []update{one, two, three}, stored: []update{one, other, three}, more: 1, want: "nowhere"},
		"one nanosecond off":          {updates: []update{one, two}, stored: []update{one, {sample: sample{at: schema.Time{Sec: two.at.Sec, Nsec: 1}, dbr: two.dbr, value: two.value}}}, more: 1, want: "nowhere"},
		"stored twice":                {updates: []update{one, two}, stored: []update{one, one, two}, want: "twice"},
		"invented":                    {updates: []update{one, three}, stored: []update{one, two, three}, more: 1, want: "did not see it"},
		"present value":               {updates: []update{one, three}, stored: []update{one, up(2, 1.0), three}, more: 1},
		"more than connections":       {updates: []update{one, three}, stored: []update{one, up(2, 1.0), three}, want: "0 connections"},
		"silent record":               {updates: []update{one, three}, stored: []update{one, two, three}, more: 1, silent: true},
		"dropped late":                {updates: []update{one, two, late}, stored: []update{one, two}, drops: []drop{dropped(late, "order")}},
		"dropped for a wrong reason":  {updates: []update{one, two, late}, stored: []update{one, two}, drops: []drop{dropped(late, "before_1991")}, want: "it is later"},
		"dropped without need":        {updates: []update{one, two, three}, stored: []update{one, two}, drops: []drop{dropped(three, "order")}, want: "no stored sample is as late"},
		"dropped and stored":          {updates: []update{one, two}, stored: []update{one, two}, drops: []drop{dropped(one, "order")}, want: "although it is stored"},
		"dropped for an IOC's future": {updates: []update{early}, drops: []drop{dropped(early, "drift_future")}},
		"dropped inside the window":   {updates: []update{one}, drops: []drop{dropped(one, "drift_future")}, want: "inside the window"},
		"dropped as unset":            {updates: []update{old}, drops: []drop{dropped(old, "before_1991")}},
		"dropped as damaged":          {updates: []update{one}, drops: []drop{dropped(one, "damaged")}, want: "gives cause"},
		"collapsed string":            {updates: []update{text, soon}, stored: []update{soon}},
		"lost string":                 {updates: []update{text, soon}, stored: []update{text}, want: "nowhere"},
		"lost number before another":  {updates: []update{one, two}, stored: []update{two}, want: "nowhere"},
	} {
		e := evidence{updates: c.updates, drops: c.drops, connections: c.more, silent: c.silent}
		e.spans = []span{{start, start.Add(time.Hour)}}
		for _, u := range c.stored {
			e.stored = append(e.stored, u.sample)
		}
		got := strings.Join(judge(e).breaches, "\n")
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: breaches %q, want %q", name, got, c.want)
		}
	}
}
