package ingest

import (
	"testing"
	"testing/synctest"
	"time"

	"pvlog/schema"
)

// In these tests the clock stands at 2000-01-01T00:00:00Z, unix 946684800, and
// only a "wait" moves it.
func TestMarkersRideOnTheFirstSampleThatIsLater_S38(t *testing.T) {
	type step struct {
		do   string // "regain", "lose", "wait" (n seconds), "resume" or "sample"
		n    int    // sample: seconds after 2000
		want string // sample: its markers
	}
	tests := map[string][]step{
		"a clean start": {
			{do: "regain"}, {"sample", 0, "0/946684800/true"}, {"sample", 1, ""},
		},
		"a reconnect with a new value": {
			{do: "regain"}, {"sample", 0, "0/946684800/true"},
			{"wait", 10, ""}, {do: "lose"}, {"wait", 5, ""}, {do: "regain"},
			{"sample", 16, "946684810/946684815/false"}, {"sample", 17, ""},
		},
		"the identical value sent again carries nothing": {
			{do: "regain"}, {"sample", 0, "0/946684800/true"},
			{"wait", 10, ""}, {do: "lose"}, {"wait", 5, ""}, {do: "regain"},
			{"sample", 0, ""}, {"sample", 0, ""}, {"sample", 20, "946684810/946684815/false"}, {"sample", 21, ""},
		},
		"an older value carries nothing": {
			{do: "regain"}, {"sample", 9, "0/946684800/true"}, {do: "lose"}, {do: "regain"},
			{"sample", 8, ""}, {"sample", 10, "946684800/946684800/false"},
		},
		"of two losses without a later sample the newest is told": {
			{do: "regain"}, {"sample", 0, "0/946684800/true"},
			{"wait", 1, ""}, {do: "lose"}, {"wait", 1, ""}, {do: "regain"}, {"sample", 0, ""},
			{"wait", 1, ""}, {do: "lose"}, {"wait", 1, ""}, {do: "regain"}, {"sample", 0, ""},
			{"sample", 5, "946684803/946684804/false"},
		},
		"a loss before the first sample keeps that the run began": {
			{do: "regain"}, {do: "lose"}, {"wait", 2, ""}, {do: "regain"}, {"sample", 2, "946684800/946684802/true"},
		},
		"a time that no partition takes carries nothing and is not to be passed": {
			{do: "regain"}, {"sample", -300_000_000, ""}, // before 1991
			{"sample", 36 * 365 * 86400, ""}, // 2035
			{"sample", 1, "0/946684800/true"},
		},
		"an old value is a first one only once": {
			{do: "regain"}, {"sample", -86400, "0/946684800/true"},
			{do: "lose"}, {do: "regain"}, {"sample", -86400, ""}, {"sample", -7200, ""}, {"sample", 1, "946684800/946684800/false"},
		},
		"a resume says startup and remembers what was seen": {
			{do: "regain"}, {"sample", 3, "0/946684800/true"}, {"wait", 5, ""},
			{do: "resume"}, {do: "regain"}, {"sample", 3, ""}, {"sample", 6, "0/946684805/true"},
		},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, log := newTestEngine(t)
				info := scalar(schema.Monitor, 0)
				c := addChannel(e, info)
				for i, s := range steps {
					switch s.do {
					case "regain":
						regain(c)
					case "lose":
						lose(c)
					case "wait":
						time.Sleep(time.Duration(s.n) * time.Second)
					case "resume":
						h := c.history
						c.close()
						c = newChannel(e, &info, h)
					case "sample":
						before := len(log.all())
						c.Update(nil, update(t, schema.Time{Sec: 946684800 + int64(s.n), Nsec: 5}, float64(i)))
						all := log.all()
						if len(all) != before+1 {
							t.Fatalf("step %d: %d samples appended, every update must be", i, len(all)-before)
						}
						if got := all[before].marks(t); got != s.want {
							t.Errorf("step %d, %+v: markers %q", i, s, got)
						}
						if all[before].decode(t).FieldsChanged {
							t.Errorf("step %d: markers alone are no change of fields", i)
						}
					}
				}
			})
		})
	}
}

func TestMarkersStayPendingWhenTheLogTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, log := newTestEngine(t)
		c := addChannel(e, scalar(schema.Monitor, 0))
		regain(c)
		log.closed = true
		c.Update(nil, update(t, schema.TimeOf(time.Now()), 1))
		log.closed = false
		c.Update(nil, update(t, schema.TimeOf(time.Now()), 2))
		all := log.all()
		if len(all) != 1 || all[0].marks(t) == "" || !all[0].First {
			t.Errorf("appended %+v, want one first sample with markers", all)
		}
		if n := c.history.counters(); n.OverflowDrops != 1 || n.Appended != 1 || n.Received != 2 {
			t.Errorf("counters %+v", n)
		}
	})
}

func TestFitsAgreesWithTheArchivesRules(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 500, time.UTC)
	base := schema.RawSample{
		Type: schema.ScalarDouble, Registered: schema.ScalarDouble, Received: now,
		DriftPast: 10 * time.Second, DriftFuture: 20 * time.Second,
	}
	first, other := base, base
	first.First = true
	other.Type = schema.ScalarInt
	at := func(d time.Duration) schema.Time { return schema.TimeOf(now.Add(d)) }
	for _, tt := range []struct {
		name string
		s    schema.RawSample
		at   schema.Time
		want bool
	}{
		{"now", base, at(0), true},
		{"just inside the past", base, at(-10*time.Second + 1), true},
		{"beyond the past", base, at(-10*time.Second - 1), false},
		{"beyond the past, first", first, at(-20 * 365 * 24 * time.Hour), true},
		{"inside the future", base, at(20 * time.Second), true},
		{"beyond the future", base, at(20*time.Second + 1), false},
		{"beyond the future, first", first, at(20*time.Second + 1), false},
		{"before 1991, first", first, schema.Time{Sec: schema.Floor - 1, Nsec: 999_999_999}, false},
		{"1991, first", first, schema.Time{Sec: schema.Floor}, true},
		{"illegal nanoseconds", base, schema.Time{Sec: now.Unix(), Nsec: 1e9}, false},
		{"another type", other, at(0), false},
	} {
		if got := fits(tt.s, tt.at); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
