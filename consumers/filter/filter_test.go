package filter

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pvlog/schema"
)

var received = time.Date(2026, 11, 23, 10, 0, 0, 500, time.UTC)

// sample is one received at the fixed instant, with windows of half an hour
// behind and ten minutes ahead.
func sample(change ...func(*schema.RawSample)) schema.RawSample {
	s := schema.RawSample{
		Type: schema.ScalarDouble, Registered: schema.ScalarDouble, Received: received,
		DriftPast: 30 * time.Minute, DriftFuture: 10 * time.Minute,
	}
	for _, c := range change {
		c(&s)
	}
	return s
}

func first(s *schema.RawSample)    { s.First = true }
func mistyped(s *schema.RawSample) { s.Type = schema.ScalarInt }
func tooMany(s *schema.RawSample)  { s.RateEvents = 100 }
func tooLarge(s *schema.RawSample) { s.RateBytes = 5000 }
func noWindow(s *schema.RawSample) { s.DriftPast, s.DriftFuture = 0, 0 }

// off is an instant relative to when the sample was received.
func off(d time.Duration) schema.Time { return schema.TimeOf(received.Add(d)) }

func TestJudge_S2_S35(t *testing.T) {
	floor := schema.Time{Sec: schema.Floor}
	never := schema.Time{}
	for name, c := range map[string]struct {
		s    schema.RawSample
		at   schema.Time
		last schema.Time // zero: the PV has none
		want Reason
	}{
		"the first of a PV":                       {sample(), off(0), never, ""},
		"a nanosecond after the last":             {sample(), off(0), off(-1), ""},
		"at the last":                             {sample(), off(0), off(0), Order},
		"a nanosecond before the last":            {sample(), off(-1), off(0), Order},
		"at the last, first since connect":        {sample(first), off(0), off(0), Order},
		"at the end of the future window":         {sample(), off(10 * time.Minute), never, ""},
		"a nanosecond beyond it":                  {sample(), off(10*time.Minute + 1), never, DriftFuture},
		"beyond it, first since connect":          {sample(first), off(10*time.Minute + 1), never, DriftFuture},
		"in 2036":                                 {sample(first), off(10 * 365 * 24 * time.Hour), off(0), DriftFuture},
		"in the year 9999":                        {sample(), schema.Time{Sec: 253_402_300_799}, never, DriftFuture},
		"at the end of the past window":           {sample(), off(-30 * time.Minute), never, ""},
		"a nanosecond before it":                  {sample(), off(-30*time.Minute - 1), never, DriftPast},
		"before it, first since connect":          {sample(first), off(-30*time.Minute - 1), never, ""},
		"35 years old, first since connect":       {sample(first), floor, never, ""},
		"a second before 1991":                    {sample(), schema.Time{Sec: schema.Floor - 1, Nsec: 999_999_999}, never, Before1991},
		"before 1991, first since connect":        {sample(first), schema.Time{Sec: schema.Floor - 1}, never, Before1991},
		"at the CA epoch":                         {sample(first), schema.Time{Sec: schema.EPICSEpoch}, never, Before1991},
		"far before 1970":                         {sample(first), schema.Time{Sec: -1 << 40}, never, Before1991},
		"the last legal nanosecond":               {sample(), schema.Time{Sec: off(0).Sec, Nsec: 999_999_999}, never, ""},
		"an illegal nanosecond":                   {sample(first), schema.Time{Sec: off(0).Sec, Nsec: 1_000_000_000}, never, Nanos},
		"all bits set":                            {sample(), schema.Time{Sec: off(0).Sec, Nsec: 1<<32 - 1}, never, Nanos},
		"another type":                            {sample(mistyped), off(0), never, Type},
		"no window: received then":                {sample(noWindow), off(0), never, ""},
		"no window: a nanosecond later":           {sample(noWindow), off(1), never, DriftFuture},
		"no window: a nanosecond earlier":         {sample(noWindow), off(-1), never, DriftPast},
		"a last at the end of the window":         {sample(), off(0), off(10 * time.Minute), Order},
		"a last beyond the window: clocks fell":   {sample(), off(0), off(10*time.Minute + 1), Order},
		"at a last beyond the window":             {sample(), off(time.Hour), off(time.Hour), DriftFuture},
		"precedence: type before nanos":           {sample(mistyped), schema.Time{Nsec: 1 << 31}, never, Type},
		"precedence: nanos before 1991":           {sample(), schema.Time{Nsec: 1 << 31}, never, Nanos},
		"precedence: 1991 before past":            {sample(), schema.Time{}, off(0), Before1991},
		"precedence: future before order":         {sample(), off(11 * time.Minute), off(10 * time.Minute), DriftFuture},
		"precedence: past before order":           {sample(), off(-time.Hour), off(0), DriftPast},
		"too many events":                         {sample(tooMany), off(0), never, Rate},
		"too many, first since connect":           {sample(tooMany, first), off(0), off(-1), Rate},
		"too many bytes":                          {sample(tooLarge), off(0), off(-1), Rate},
		"precedence: past before rate":            {sample(tooMany), off(-time.Hour), never, DriftPast},
		"precedence: rate before order":           {sample(tooLarge), off(0), off(0), Rate},
		"order, where the past side is suspended": {sample(first), off(-time.Hour), off(0), Order},
	} {
		v := Judge(c.s, c.at, c.last, !c.last.IsZero())
		if v.Reason != c.want || v.Keep() != (c.want == "") || v.Keep() != (v.Detail == "") {
			t.Errorf("%s: %+v, want %q", name, v, c.want)
		}
	}
}

// TestDetailsHoldTheNumbers: who reads the drop log must see why without more.
func TestDetailsHoldTheNumbers(t *testing.T) {
	for _, c := range []struct {
		s        schema.RawSample
		at, last schema.Time
		want     []string
	}{
		{sample(mistyped), off(0), off(0), []string{"DBR_SCALAR_INT", "DBR_SCALAR_DOUBLE"}},
		{sample(), schema.Time{Sec: 1e9, Nsec: 4e9}, off(0), []string{"4000000000", "2001-09-09T01:46:40Z"}},
		{sample(), schema.Time{Sec: schema.EPICSEpoch}, off(0), []string{"1990-01-01T00:00:00Z", "1991-01-01T00:00:00Z"}},
		{sample(), off(time.Hour), off(0), []string{"2026-11-23T11:00:00.0000005Z", "1h0m0s after", "2026-11-23T10:00:00.0000005Z", "10m0s is allowed"}},
		{sample(), off(-time.Hour), off(0), []string{"2026-11-23T09:00:00.0000005Z", "1h0m0s before", "2026-11-23T10:00:00.0000005Z", "30m0s is allowed"}},
		{sample(tooMany), off(0), off(-1), []string{"100 events/s"}},
		{sample(tooLarge), off(0), off(-1), []string{"its 0 bytes", "5000 bytes/s"}},
		{sample(), off(-time.Second), off(0), []string{"2026-11-23T09:59:59.0000005Z", "2026-11-23T10:00:00.0000005Z"}},
	} {
		v := Judge(c.s, c.at, c.last, true)
		for _, w := range c.want {
			if !strings.Contains(v.Detail, w) {
				t.Errorf("%s: %q lacks %q", v.Reason, v.Detail, w)
			}
		}
	}
}

// TestVerdictsDoNotDependOnWhenTheyAreGiven_S3: a sample that waited in the log
// for years is judged as it was live.
func TestVerdictsDoNotDependOnWhenTheyAreGiven_S3(t *testing.T) {
	old := sample(func(s *schema.RawSample) { s.Received = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC) })
	at := schema.TimeOf(old.Received)
	if v := Judge(old, at, schema.Time{}, false); !v.Keep() {
		t.Errorf("%+v", v)
	}
}

// keep runs a sequence as the archive does and gives what is kept.
func keep(t *testing.T, samples []schema.RawSample, times []schema.Time) (kept []schema.Time, dropped map[Reason]int) {
	t.Helper()
	dropped = map[Reason]int{}
	for i, s := range samples {
		var last schema.Time
		if len(kept) > 0 {
			last = kept[len(kept)-1]
		}
		v := Judge(s, times[i], last, len(kept) > 0)
		if again := Judge(s, times[i], last, len(kept) > 0); again != v {
			t.Fatalf("judged twice: %+v and %+v", v, again)
		}
		if v.Keep() {
			kept = append(kept, times[i])
		} else {
			dropped[v.Reason]++
		}
	}
	return kept, dropped
}

// lawful checks what holds of any sequence: everything is kept or dropped for
// one of Judge's reasons, and what is kept ascends strictly, as long as
// Received does not fall back by more than the window (then a last may become
// one from the future).
func lawful(t *testing.T, samples []schema.RawSample, times []schema.Time) {
	t.Helper()
	kept, dropped := keep(t, samples, times)
	n := len(kept)
	for reason, count := range dropped {
		n += count
		switch reason {
		case Type, Nanos, Before1991, DriftFuture, DriftPast, Rate, Order:
		default:
			t.Fatalf("reason %q", reason)
		}
	}
	if n != len(samples) {
		t.Fatalf("%d kept and dropped of %d", n, len(samples))
	}
	for i, at := range kept {
		if i > 0 && !at.After(kept[i-1]) {
			t.Fatalf("%v is kept after %v", at, kept[i-1])
		}
		if !at.Legal() || at.Sec < schema.Floor {
			t.Fatalf("%v is kept", at)
		}
	}
}

func TestWhatIsKeptAscendsAndNothingVanishes(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 5))
		var samples []schema.RawSample
		var times []schema.Time
		clock := received
		for range 200 {
			clock = clock.Add(time.Duration(rng.IntN(3)) * time.Duration(rng.IntN(1e9)))
			if rng.IntN(40) == 0 {
				clock = clock.Add(time.Duration(rng.IntN(180)-90) * time.Minute)
			}
			s := sample(func(s *schema.RawSample) { s.Received, s.First = clock, rng.IntN(10) == 0 })
			if rng.IntN(20) == 0 {
				mistyped(&s)
			}
			if rng.IntN(20) == 0 {
				tooMany(&s)
			}
			at := schema.TimeOf(clock.Add(time.Duration(rng.Int64N(int64(time.Hour))) - 40*time.Minute))
			switch rng.IntN(12) {
			case 0:
				at.Nsec = rng.Uint32()
			case 1:
				at.Sec = rng.Int64N(4e9)
			case 2, 3, 4:
				at = schema.TimeOf(clock)
			case 5:
				if len(times) > 0 {
					at = times[rng.IntN(len(times))]
				}
			}
			samples, times = append(samples, s), append(times, at)
		}
		lawful(t, samples, times)
	}
}

func TestReasonsAreTokensAndAllDifferent(t *testing.T) {
	seen := map[Reason]bool{}
	for _, r := range Reasons() {
		if seen[r] || r == "" || strings.Trim(string(r), "abcdefghijklmnopqrstuvwxyz_0123456789") != "" {
			t.Errorf("reason %q", r)
		}
		seen[r] = true
	}
	if len(seen) != 10 {
		t.Errorf("%d reasons", len(seen))
	}
}

// FuzzJudge makes a sequence of any bytes: 14 a sample.
func FuzzJudge(f *testing.F) {
	f.Add([]byte("0123456789abcd0123456789abcd"))
	f.Add(make([]byte, 42))
	f.Fuzz(func(t *testing.T, b []byte) {
		var samples []schema.RawSample
		var times []schema.Time
		clock := received
		for ; len(b) >= 14; b = b[14:] {
			clock = clock.Add(time.Duration(int8(b[0])) * time.Minute)
			s := sample(func(s *schema.RawSample) {
				s.Received = clock
				s.First = b[1]&1 != 0
				s.Type = schema.DBRType(6 + b[1]>>7)
				s.DriftPast = time.Duration(b[2]) * time.Minute
				s.DriftFuture = 10 * time.Minute
			})
			var sec int64
			for _, c := range b[3:9] {
				sec = sec<<8 | int64(c)
			}
			if b[1]&2 != 0 {
				sec = clock.Unix() + int64(int8(b[3]))*60
			}
			nsec := uint32(b[9])<<24 | uint32(b[10])<<16 | uint32(b[11])<<8 | uint32(b[12])
			samples, times = append(samples, s), append(times, schema.Time{Sec: sec, Nsec: nsec})
		}
		lawful(t, samples, times)
	})
}

func BenchmarkJudge(b *testing.B) {
	s := sample()
	b.ReportAllocs()
	for b.Loop() {
		if v := Judge(s, off(0), off(-1), true); !v.Keep() {
			b.Fatal(v)
		}
	}
}
