package ca

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"
)

// MaxDatagram is the largest search datagram: what the buffers of old IOCs
// hold.
const MaxDatagram = 1024

// MaxSearchName is the longest name that fits a search datagram.
const MaxSearchName = MaxDatagram - 2*HeaderSize - 8

// lostRetry is the first period of a name that was connected: servers do not
// come back within milliseconds.
const lostRetry = time.Second

// boostSpacing is the time that each name of a group that is searched again
// adds to the burst, in nanoseconds.
const boostSpacing = float64(200 * time.Microsecond)

// peakFactor is by how much answered names may speed the search up: 100,000
// names of a site that comes back take 7 s, and an old IOC looks 15,000 of
// them up in a second.
const peakFactor = 10

// namesPerDatagram is an estimate: names of 20 to 30 characters.
const namesPerDatagram = 25

// SearchOptions of a [SearchSchedule]. The zero value is the default.
type SearchOptions struct {
	Rate       float64        // datagrams/s to each destination; names that are answered are not counted. 0 is 50
	Peak       float64        // datagrams/s to each destination, whatever is answered; 0 is ten times Rate
	Burst      int            // datagrams that may leave at once; 0 is 64, as libca
	DeadRate   float64        // share of Rate, datagrams/s, that names without answer may take in the long run; 0 is 20
	FirstRetry time.Duration  // 0 is 60 ms; then twice as long each time
	MaxPeriod  time.Duration  // longest period of a name while few are dead; 0 is 5 s
	LastPeriod time.Duration  // longest period whatever their number (EPICS_CA_MAX_SEARCH_PERIOD); 0 is 300 s
	Random     func() float64 // in [0, 1), for the jitter; nil is math/rand
}

func (o SearchOptions) withDefaults() SearchOptions {
	o.Rate = positive(o.Rate, 50)
	o.Peak = positive(o.Peak, peakFactor*o.Rate)
	o.Burst = int(positive(float64(o.Burst), 64))
	o.DeadRate = positive(o.DeadRate, 20)
	o.FirstRetry = time.Duration(positive(float64(o.FirstRetry), float64(60*time.Millisecond)))
	o.MaxPeriod = time.Duration(positive(float64(o.MaxPeriod), float64(5*time.Second)))
	o.LastPeriod = time.Duration(positive(float64(o.LastPeriod), float64(300*time.Second)))
	if o.Random == nil {
		o.Random = rand.Float64
	}
	return o
}

func positive(v, otherwise float64) float64 {
	if v > 0 {
		return v
	}
	return otherwise
}

// SearchSchedule says which names are searched when.
//
// Every name has its own period, doubled with each silence and jittered by a
// quarter, up to a cap that grows with the number of dead names. A bucket of
// datagrams bounds what leaves, since every IOC of the subnet pays for each
// datagram; an answered name gives its share back, so that thousands of live
// names are found about as fast as their servers answer, up to a peak, while
// dead ones never exceed the rate.
//
// Time is an argument. It is not safe for concurrent use.
type SearchSchedule struct {
	options  SearchOptions
	queue    searchQueue
	names    map[uint32]*searched
	groups   map[uint64]map[uint32]*searched
	tokens   float64   // of Rate and of what was answered
	peak     float64   // of Peak
	filled   time.Time // when both were last brought up to date
	sequence uint32
}

// searched is a name that waits for an answer.
type searched struct {
	cid    uint32
	name   string
	group  uint64
	period time.Duration // since the last try; 0: never tried
	due    time.Time
	last   time.Time // it was searched
	tries  int
	index  int // in the queue
}

// SearchState is how far the search of a name is.
type SearchState struct {
	Tries int       // datagrams that held the name since its search began
	Last  time.Time // of them; zero: none
	Due   time.Time // of the next, if the rate allows it then
}

// State tells how far the search of a name is, false if it is not searched.
func (s *SearchSchedule) State(cid uint32) (SearchState, bool) {
	e, ok := s.names[cid]
	if !ok {
		return SearchState{}, false
	}
	return SearchState{Tries: e.tries, Last: e.last, Due: e.due}, true
}

// NewSearchSchedule gives an empty schedule.
func NewSearchSchedule(o SearchOptions) *SearchSchedule {
	o = o.withDefaults()
	return &SearchSchedule{
		options: o,
		names:   map[uint32]*searched{},
		groups:  map[uint64]map[uint32]*searched{},
		tokens:  float64(o.Burst),
		peak:    float64(o.Burst),
	}
}

// Len is the number of names that are searched.
func (s *SearchSchedule) Len() int { return len(s.names) }

// Add begins to search a name after a delay. group is any number that names
// share which are likely to be found together (their last server); 0 is none.
// It fails for a name that no datagram can carry.
func (s *SearchSchedule) Add(now time.Time, cid uint32, name string, group uint64, delay time.Duration) error {
	if name == "" || len(name) > MaxSearchName {
		return fmt.Errorf("search %.40q: a name has 1 to %d bytes, this one %d", name, MaxSearchName, len(name))
	}
	s.Remove(cid)
	e := &searched{cid: cid, name: name, group: group, due: now.Add(delay)}
	s.names[cid] = e
	heap.Push(&s.queue, e)
	if group != 0 {
		e.period = lostRetry / 2
	}
	if s.groups[group] == nil {
		s.groups[group] = map[uint32]*searched{}
	}
	s.groups[group][cid] = e
	return nil
}

// Remove ends the search of a name and says whether it was searched.
func (s *SearchSchedule) Remove(cid uint32) bool {
	e, ok := s.names[cid]
	if !ok {
		return false
	}
	delete(s.names, cid)
	heap.Remove(&s.queue, e.index)
	delete(s.groups[e.group], cid)
	if len(s.groups[e.group]) == 0 {
		delete(s.groups, e.group)
	}
	return true
}

// Answered ends the search of a name that was found and gives its share of a
// datagram back.
func (s *SearchSchedule) Answered(cid uint32) bool {
	if !s.Remove(cid) {
		return false
	}
	s.tokens = min(s.tokens+1.0/namesPerDatagram, float64(s.options.Burst))
	return true
}

// Group gives the names of a group: the cids.
func (s *SearchSchedule) Group(group uint64) []uint32 {
	cids := make([]uint32, 0, len(s.groups[group]))
	for cid := range s.groups[group] {
		cids = append(cids, cid)
	}
	return cids
}

// Boost searches, within a second, the names of a group: one of them was
// found, so its server is back. They begin anew, but for group 0: names that
// no server had yet get one more try.
func (s *SearchSchedule) Boost(now time.Time, group uint64) {
	spread := min(float64(time.Second), float64(len(s.groups[group]))*boostSpacing)
	base := now
	if group != 0 && len(s.queue) > 0 && s.queue[0].due.Before(now) {
		// More names are due than the rate allows: these go before them all.
		base = s.queue[0].due.Add(-time.Duration(spread))
	}
	for _, e := range s.groups[group] {
		due := base.Add(time.Duration(s.options.Random() * spread))
		if e.period <= s.options.FirstRetry && base.Equal(now) || e.due.Before(due) {
			continue
		}
		if e.due = due; group != 0 {
			e.period = s.options.FirstRetry
		}
		heap.Fix(&s.queue, e.index)
	}
}

// BoostSome does the same for all groups that are meant.
func (s *SearchSchedule) BoostSome(now time.Time, meant func(group uint64) bool) {
	for group := range s.groups {
		if group != 0 && meant(group) {
			s.Boost(now, group)
		}
	}
}

// Searches says whether names of a group are searched.
func (s *SearchSchedule) Searches(group uint64) bool { return len(s.groups[group]) > 0 }

// BoostAll searches every name once more, spread over a time: something in the
// network is back. Names that are due sooner stay as they are, and none begins
// anew.
func (s *SearchSchedule) BoostAll(now time.Time, spread time.Duration) {
	for _, e := range s.names {
		due := now.Add(time.Duration(s.options.Random() * float64(spread)))
		if e.due.After(due) {
			e.due = due
			heap.Fix(&s.queue, e.index)
		}
	}
}

// Pass is how long it takes to search every name once at the full rate.
func (s *SearchSchedule) Pass() time.Duration {
	return time.Duration(float64(len(s.names)) / (namesPerDatagram * s.options.Rate) * float64(time.Second))
}

// Budget is how many datagrams may leave at this moment.
func (s *SearchSchedule) Budget(now time.Time) float64 {
	s.refill(now)
	return min(s.tokens, s.peak)
}

// Next builds the next datagram in b[:0], and ok false if none is due or the
// rate forbids it now. Names that are nearly due ride along, so that
// datagrams are full.
func (s *SearchSchedule) Next(now time.Time, b []byte) (datagram []byte, ok bool) {
	s.refill(now)
	if s.tokens < 1 || s.peak < 1 || len(s.queue) == 0 || s.queue[0].due.After(now) {
		return b[:0], false
	}
	s.tokens--
	s.peak--
	s.sequence++
	b = AppendDatagramVersion(b[:0], s.sequence)
	longest := s.longestPeriod()
	for len(s.queue) > 0 {
		e := s.queue[0]
		if e.due.Add(-e.period/4).After(now) || len(b)+HeaderSize+pad8(len(e.name)+1) > MaxDatagram {
			break
		}
		b = AppendSearch(b, e.cid, e.name, DontReply)
		s.tried(e, now, longest)
	}
	return b, true
}

// tried puts a name at its next time.
func (s *SearchSchedule) tried(e *searched, now time.Time, longest time.Duration) {
	e.period = min(max(2*e.period, s.options.FirstRetry), longest)
	e.last = now
	e.tries++
	jitter := 0.75 + s.options.Random()/2
	e.due = now.Add(time.Duration(jitter * float64(e.period)))
	heap.Fix(&s.queue, e.index)
}

// longestPeriod grows with the names without answer: all of them together
// take DeadRate datagrams a second.
func (s *SearchSchedule) longestPeriod() time.Duration {
	pass := float64(len(s.names)) / (namesPerDatagram * s.options.DeadRate)
	longest := max(s.options.MaxPeriod, time.Duration(pass*float64(time.Second)))
	return min(longest, s.options.LastPeriod)
}

func (s *SearchSchedule) refill(now time.Time) {
	if !s.filled.IsZero() && now.After(s.filled) {
		passed := now.Sub(s.filled).Seconds()
		s.tokens = min(s.tokens+passed*s.options.Rate, float64(s.options.Burst))
		s.peak = min(s.peak+passed*s.options.Peak, float64(s.options.Burst))
	}
	s.filled = now
}

// Wait is how long nothing is to be done, at most limit.
func (s *SearchSchedule) Wait(now time.Time, limit time.Duration) time.Duration {
	if len(s.queue) == 0 {
		return limit
	}
	wait := s.queue[0].due.Sub(now)
	if s.tokens < 1 {
		wait = max(wait, time.Duration((1-s.tokens)/s.options.Rate*float64(time.Second))+time.Millisecond)
	}
	if s.peak < 1 {
		wait = max(wait, time.Duration((1-s.peak)/s.options.Peak*float64(time.Second)))
	}
	return min(max(wait, 0), limit)
}

// searchQueue is a heap: first due first.
type searchQueue []*searched

// Len is the number of names.
func (q searchQueue) Len() int { return len(q) }

// Less orders by time.
func (q searchQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

// Swap keeps each name's index.
func (q searchQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push adds at the end.
func (q *searchQueue) Push(x any) {
	e := x.(*searched)
	e.index = len(*q)
	*q = append(*q, e)
}

// Pop takes from the end.
func (q *searchQueue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return e
}
