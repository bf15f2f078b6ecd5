package ca

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// searchedNames reads the names of a datagram and checks its form.
func searchedNames(t *testing.T, datagram []byte) map[uint32]string {
	t.Helper()
	if len(datagram) > MaxDatagram {
		t.Fatalf("a datagram of %d bytes", len(datagram))
	}
	names := map[uint32]string{}
	for first := true; len(datagram) > 0; first = false {
		h, payload, n, err := ParseMessage(datagram)
		if err != nil || n == 0 {
			t.Fatalf("datagram: %v", err)
		}
		switch {
		case first && (h.Command != CmdVersion || h.DataType != 1 || h.P1 == 0):
			t.Fatalf("a datagram begins with %+v", h)
		case !first && (h.Command != CmdSearch || h.P1 != h.P2 || h.DataType != DontReply || h.Count != MinorVersion):
			t.Fatalf("a datagram holds %+v", h)
		case !first:
			names[h.P1] = Text(payload)
		}
		datagram = datagram[n:]
	}
	return names
}

// simulate runs a schedule for a while and gives what it sent at which time.
func simulate(t *testing.T, s *SearchSchedule, from time.Time, d time.Duration, sent func(now time.Time, names map[uint32]string)) time.Time {
	t.Helper()
	now := from
	for now.Before(from.Add(d)) {
		datagram, ok := s.Next(now, nil)
		if ok {
			names := searchedNames(t, datagram)
			if len(names) == 0 {
				t.Fatal("a datagram without a name")
			}
			sent(now, names)
			continue
		}
		now = now.Add(max(s.Wait(now, time.Second), time.Millisecond))
	}
	return now
}

func TestSearchOfOneDeadNameBacksOff(t *testing.T) {
	s := NewSearchSchedule(SearchOptions{})
	if err := s.Add(start, 7, "NOT:THERE", 0, 0); err != nil {
		t.Fatal(err)
	}
	var times []time.Duration
	simulate(t, s, start, 60*time.Second, func(now time.Time, names map[uint32]string) {
		if names[7] != "NOT:THERE" {
			t.Fatalf("searched %v", names)
		}
		times = append(times, now.Sub(start))
	})
	early := 0
	for i, at := range times {
		if at < 16*time.Second {
			early++
		}
		if i > 0 && at-times[i-1] > 6300*time.Millisecond {
			t.Errorf("no search between %v and %v", times[i-1], at)
		}
	}
	if times[0] != 0 || early < 6 || early > 12 {
		t.Errorf("%d searches in 16 s: %v", early, times)
	}
}

func TestSearchOfManyDeadNamesKeepsTheRate(t *testing.T) {
	s := NewSearchSchedule(SearchOptions{})
	const n = 10_000
	for cid := range uint32(n) {
		if err := s.Add(start, cid, fmt.Sprintf("DEAD:DEVICE:%06d", cid), 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	perSecond := map[int]int{}
	tries := map[uint32]int{}
	now := simulate(t, s, start, 5*time.Minute, func(now time.Time, names map[uint32]string) {
		perSecond[int(now.Sub(start).Seconds())]++
		for cid := range names {
			tries[cid]++
		}
	})
	for second, datagrams := range perSecond {
		if limit := 50 + 64 + 1; datagrams > limit {
			t.Errorf("%d datagrams in second %d", datagrams, second)
		}
		if second > 120 && datagrams > 40 {
			t.Errorf("%d datagrams in second %d, long after the start", datagrams, second)
		}
	}
	for cid := range uint32(n) {
		if tries[cid] < 8 {
			t.Fatalf("name %d was searched %d times in five minutes", cid, tries[cid])
		}
	}
	if s.Len() != n || !now.After(start) {
		t.Errorf("%d names are left", s.Len())
	}
}

// TestSearchOfLiveNamesIsNotHeldUp: whoever is answered costs nothing.
func TestSearchOfLiveNamesIsNotHeldUp(t *testing.T) {
	s := NewSearchSchedule(SearchOptions{})
	for cid := range uint32(10_000) {
		if err := s.Add(start, cid, fmt.Sprintf("LIVE:DEVICE:%06d", cid), 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	var last time.Time
	simulate(t, s, start, 2*time.Second, func(now time.Time, names map[uint32]string) {
		last = now
		for cid := range names {
			if !s.Answered(cid) {
				t.Fatalf("name %d was not searched", cid)
			}
		}
	})
	if s.Len() != 0 || last.Sub(start) > time.Second {
		t.Errorf("%d names left, the last datagram left after %v", s.Len(), last.Sub(start))
	}
	if s.Answered(1) || s.Remove(1) {
		t.Error("a name was found twice")
	}
}

// TestSearchOfASiteThatIsBackFloodsNobody: all of 100,000 names are answered
// at once, after a power cut, and yet the datagrams keep the peak rate.
func TestSearchOfASiteThatIsBackFloodsNobody(t *testing.T) {
	s := NewSearchSchedule(SearchOptions{})
	const n = 100_000
	for cid := range uint32(n) {
		if err := s.Add(start, cid, fmt.Sprintf("SITE:DEVICE:%06d", cid), 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	perSecond, all := map[int]int{}, 0
	var last time.Time
	simulate(t, s, start, 20*time.Second, func(now time.Time, names map[uint32]string) {
		perSecond[int(now.Sub(start).Seconds())]++
		all, last = all+1, now
		for cid := range names {
			s.Answered(cid)
		}
	})
	for second, datagrams := range perSecond {
		if limit := 500 + 64 + 1; datagrams > limit {
			t.Errorf("%d datagrams in second %d", datagrams, second)
		}
	}
	if s.Len() != 0 || all > n/25 || last.Sub(start) > 10*time.Second {
		t.Errorf("%d names left, %d datagrams, the last after %v", s.Len(), all, last.Sub(start))
	}
}

func TestSearchBoostsTheNamesOfAServerThatIsBack(t *testing.T) {
	s := NewSearchSchedule(SearchOptions{})
	for cid := range uint32(100) {
		if err := s.Add(start, cid, fmt.Sprintf("A:%d", cid), uint64(1+cid%2), time.Second); err != nil {
			t.Fatal(err)
		}
	}
	sent := 0
	now := simulate(t, s, start, time.Minute, func(at time.Time, names map[uint32]string) {
		sent++
		if at.Before(start.Add(time.Second)) {
			t.Errorf("searched after %v, before its delay", at.Sub(start))
		}
	})
	s.Boost(now, 1)
	boosted := map[uint32]bool{}
	simulate(t, s, now, 50*time.Millisecond, func(_ time.Time, names map[uint32]string) {
		for cid := range names {
			boosted[cid] = true
		}
	})
	for cid := uint32(0); cid < 100; cid += 2 {
		if !boosted[cid] {
			t.Errorf("name %d was not searched at once", cid)
		}
	}
}

// TestSearchTriesUnknownNamesAtANewServer once: they may be anywhere.
func TestSearchTriesUnknownNamesAtANewServer(t *testing.T) {
	s := NewSearchSchedule(SearchOptions{})
	for cid := range uint32(50) {
		if err := s.Add(start, cid, fmt.Sprintf("A:%d", cid), 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	now := simulate(t, s, start, time.Minute, func(time.Time, map[uint32]string) {})
	s.Boost(now, 0)
	tries := map[uint32]int{}
	simulate(t, s, now, time.Second, func(_ time.Time, names map[uint32]string) {
		for cid := range names {
			tries[cid]++
		}
	})
	for cid := range uint32(50) {
		if tries[cid] != 1 {
			t.Errorf("name %d was searched %d times", cid, tries[cid])
		}
	}
}

// TestSearchBoostGoesBeforeWhatIsOverdue: twenty thousand dead names that the
// rate holds up do not hold up a server that is back.
func TestSearchBoostsGroupsThatAreMeant(t *testing.T) {
	s := NewSearchSchedule(SearchOptions{})
	for cid := range uint32(30) {
		if err := s.Add(start, cid, fmt.Sprintf("LOST:%d", cid), uint64(cid%3), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	s.BoostSome(start, func(group uint64) bool { return group < 2 })
	tried := map[uint32]bool{}
	simulate(t, s, start, time.Second, func(_ time.Time, names map[uint32]string) {
		for cid := range names {
			tried[cid] = true
		}
	})
	for cid := range uint32(30) {
		if tried[cid] != (cid%3 == 1) { // group 0 has no server that could be back
			t.Errorf("name %d of group %d: tried %v", cid, cid%3, tried[cid])
		}
	}
	if !s.Searches(2) || s.Searches(3) {
		t.Error("groups that are searched are not known")
	}
}

func TestSearchBoostGoesBeforeWhatIsOverdue(t *testing.T) {
	s := NewSearchSchedule(SearchOptions{})
	for cid := range uint32(20_000) {
		group := uint64(0)
		if cid >= 19_900 {
			group = 9
		}
		if err := s.Add(start, cid, fmt.Sprintf("A:%d", cid), group, 0); err != nil {
			t.Fatal(err)
		}
	}
	now := simulate(t, s, start, 3*time.Second, func(time.Time, map[uint32]string) {})
	s.Boost(now, 9)
	found := map[uint32]bool{}
	simulate(t, s, now, 500*time.Millisecond, func(_ time.Time, names map[uint32]string) {
		for cid := range names {
			found[cid] = true
		}
	})
	for cid := uint32(19_900); cid < 20_000; cid++ {
		if !found[cid] {
			t.Fatalf("name %d waits behind dead ones", cid)
		}
	}
}

// TestSearchBoostOfAllIsSpread: each name once more, none at once, none anew.
func TestSearchBoostOfAllIsSpread(t *testing.T) {
	const n = 2000
	s := NewSearchSchedule(SearchOptions{Rate: 1000, MaxPeriod: time.Hour, LastPeriod: time.Hour})
	for cid := range uint32(n) {
		if err := s.Add(start, cid, fmt.Sprintf("A:%d", cid), uint64(cid%3), 0); err != nil {
			t.Fatal(err)
		}
	}
	now := simulate(t, s, start, 2*time.Hour, func(time.Time, map[uint32]string) {})
	s.BoostAll(now, 5*time.Second)
	var inSecond [6]int
	tries := map[uint32]int{}
	simulate(t, s, now, 6*time.Second, func(at time.Time, names map[uint32]string) {
		inSecond[at.Sub(now)/time.Second] += len(names)
		for cid := range names {
			tries[cid]++
		}
	})
	for cid := range uint32(n) {
		if tries[cid] != 1 {
			t.Fatalf("name %d was searched %d times", cid, tries[cid])
		}
	}
	for second, names := range inSecond[:5] {
		if names < n/10 || names > n*3/10 {
			t.Errorf("%d names in second %d", names, second)
		}
	}
	if pass := s.Pass(); pass != 80*time.Millisecond {
		t.Errorf("a pass takes %v", pass)
	}
}

func TestSearchRefusesNamesThatNoDatagramCarries(t *testing.T) {
	s := NewSearchSchedule(SearchOptions{})
	longest := make([]byte, MaxSearchName+1)
	for i := range longest {
		longest[i] = 'x'
	}
	if err := s.Add(start, 1, string(longest), 0, 0); err == nil {
		t.Error("a name too long was accepted")
	}
	if err := s.Add(start, 1, "", 0, 0); err == nil {
		t.Error("an empty name was accepted")
	}
	if err := s.Add(start, 1, string(longest[1:]), 0, 0); err != nil {
		t.Error(err)
	}
	datagram, ok := s.Next(start, nil)
	if !ok || searchedNames(t, datagram)[1] != string(longest[1:]) {
		t.Errorf("the longest name did not travel")
	}
}

func TestRepliesFollowTheMinorVersion(t *testing.T) {
	tests := []struct {
		name    string
		payload []byte
		want    Reply
	}{
		{"13", []byte{0, 13, 0, 0, 0, 0, 0, 0}, Reply{CID: 5, Port: 1234, Address: 0x0a000005, Minor: 13}},
		{"7 has no address", []byte{0, 7, 0, 0, 0, 0, 0, 0}, Reply{CID: 5, Port: 1234, Address: AddressOfSender, Minor: 7}},
		{"4 has no port", []byte{0, 4, 0, 0, 0, 0, 0, 0}, Reply{CID: 5, Port: 5064, Address: AddressOfSender, Minor: 4}},
		{"3 has claimed already", []byte{0, 3, 0, 0, 0, 0, 0, 0}, Reply{CID: 5, Port: 5064, Address: AddressOfSender, Minor: 3, Old: true, SID: 0x0a000005, Native: 1234}},
		{"no payload", nil, Reply{CID: 5, Port: 5064, Address: AddressOfSender, Old: true, SID: 0x0a000005, Native: 1234}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := AppendMessage(nil, Header{Command: CmdSearch, DataType: 1234, P1: 0x0a000005, P2: 5}, test.payload)
			var d Datagram
			err := d.Parse(b, ServerPort)
			got := d.Replies
			if err != nil || len(got) != 1 || got[0] != test.want {
				t.Errorf("got %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
}

func TestDatagramKeepsWhatStandsBeforeTheDamage(t *testing.T) {
	good := AppendSearchReply(AppendDatagramVersion(nil, 3), 9, 5064, AddressOfSender)
	other := AppendRepeaterConfirm(AppendBeacon(AppendHeader(nil, Header{Command: CmdNotFound}), 1, 2, 3), 4)
	for name, tail := range map[string][]byte{
		"short":     {1, 2, 3},
		"beyond":    AppendHeader(nil, Header{Command: CmdSearch, PayloadSize: 800}),
		"unaligned": append(AppendHeader(nil, Header{Command: CmdSearch, PayloadSize: 4}), 0, 0, 0, 0),
		"huge":      AppendHeader(nil, Header{Command: CmdSearch, PayloadSize: math.MaxUint32 - 7}),
	} {
		datagram := append(append(append([]byte{}, good...), other...), tail...)
		var d Datagram
		err := d.Parse(datagram, ServerPort)
		if !errors.Is(err, ErrMalformed) || len(d.Replies) != 1 || d.Replies[0].CID != 9 {
			t.Errorf("%s: got %+v, %v", name, d, err)
		}
		if len(d.Beacons) != 1 || d.Beacons[0] != (Beacon{Address: 3, Port: 1, Counter: 2, Minor: 13}) || !d.Confirmed {
			t.Errorf("%s: got %+v", name, d)
		}
	}
}

func FuzzDatagram(f *testing.F) {
	for _, b := range wire(f) {
		f.Add(b)
	}
	f.Add(AppendSearchReply(AppendDatagramVersion(nil, 3), 9, 5064, AddressOfSender))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d Datagram
		_ = d.Parse(b, ServerPort)
		if n := len(d.Replies) + len(d.Beacons); n > len(b)/HeaderSize {
			t.Fatalf("%d messages out of %d bytes", n, len(b))
		}
	})
}

func BenchmarkSearchSchedule(b *testing.B) {
	s := NewSearchSchedule(SearchOptions{Rate: 1e9, Burst: 1e9})
	for cid := range uint32(100_000) {
		if err := s.Add(start, cid, fmt.Sprintf("DEAD:DEVICE:%06d", cid), 0, 0); err != nil {
			b.Fatal(err)
		}
	}
	now := start
	buf := make([]byte, 0, MaxDatagram)
	for b.Loop() {
		if _, ok := s.Next(now, buf); !ok {
			now = now.Add(s.Wait(now, time.Hour) + time.Millisecond)
		}
	}
}
