package archive

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// described is a registry that knows fields of every PV.
func described(pv schema.PVName) (*schema.TypeInfo, bool) {
	info, ok := registered(pv)
	if ok {
		info.Units, info.Precision, info.Limits = "mm", 2, map[string]float64{"HIHI": 9}
		info.Fields = map[string]string{"DESC": "a motor", "RTYP": "ai"}
	}
	return info, ok
}

func withRegistry(o *Options) { o.Registered = described }

// fieldsOf are a stored sample's field values, "EGU=mm PREC=2", and the flag.
func fieldsOf(t *testing.T, s stored) string {
	t.Helper()
	sample, err := schema.DecodeSample(schema.ScalarDouble, s.at.Year(), []byte(s.event))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, f := range sample.Fields {
		list = append(list, f.Name+"="+f.Val)
	}
	if sample.FieldsChanged {
		list = append(list, "changed")
	}
	return strings.Join(list, " ")
}

// TestTheFirstSampleOfADayCarriesTheFullSet_S52 but for what it has itself, or
// gets from a discarded duplicate (D12).
func TestTheFirstSampleOfADayCarriesTheFullSet_S52(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 2)
	field := func(name, val string, change ...bool) func(*schema.RawSample) {
		return func(s *schema.RawSample) {
			s.Event = schema.AppendField(s.Event, name, val)
			for _, c := range change {
				s.Event = schema.AppendFieldsChanged(s.Event, c)
			}
		}
	}
	steps := []struct {
		after time.Duration
		with  []func(*schema.RawSample)
		want  string
	}{
		{0, nil, "EGU=mm PREC=2 HIHI=9 DESC=a motor"},
		{time.Second, nil, ""},
		{2 * time.Hour, nil, ""}, // another partition of the same day
		{24 * time.Hour, []func(*schema.RawSample){field("EGU", "um", true), field("startup", "true")}, "EGU=um startup=true PREC=2 HIHI=9 DESC=a motor changed"},
		{25 * time.Hour, nil, ""},
		{49 * time.Hour, []func(*schema.RawSample){field("X", "carried")}, "X=carried EGU=mm PREC=2 HIHI=9 DESC=a motor"},
		{50 * time.Hour, nil, ""},
	}
	for i, s := range steps {
		if i == 5 { // a duplicate of the last sample has what waits
			log.add("P", double(after(25*time.Hour), 4, s.with...))
			s.with = nil
		}
		log.add("P", double(after(s.after), float64(i), s.with...))
	}
	for round := range 2 { // the second time everything is redelivered
		run(t, open(t, dir, log, withRegistry))
		got := read(t, dir, "P")
		if len(got) != len(steps) {
			t.Fatalf("run %d: %d samples, want %d", round, len(got), len(steps))
		}
		for i, s := range steps {
			if have := fieldsOf(t, got[i]); have != s.want {
				t.Errorf("run %d: sample %d has %q, want %q", round, i, have, s.want)
			}
		}
		log.floor = 0
	}
}

func TestPartitionsAndDaysBegin(t *testing.T) {
	at := func(text string) schema.Time {
		u, err := time.Parse("2006-01-02T15:04", text)
		if err != nil {
			t.Fatal(err)
		}
		return schema.TimeOf(u)
	}
	for _, tt := range []struct {
		g        partition.Granularity
		last, at string
		want     bool
	}{
		{partition.Partition5Min, "2025-03-01T10:00", "2025-03-01T10:06", false},
		{partition.PartitionHour, "2025-03-01T10:00", "2025-03-01T23:59", false},
		{partition.PartitionHour, "2025-03-01T23:59", "2025-03-02T00:00", true},
		{partition.PartitionDay, "2025-03-01T00:00", "2025-03-01T23:59", false},
		{partition.PartitionDay, "2025-03-01T23:59", "2025-03-02T00:00", true},
		{partition.PartitionMonth, "2025-03-01T23:59", "2025-03-02T00:00", false},
		{partition.PartitionMonth, "2025-03-31T23:59", "2025-04-01T00:00", true},
		{partition.PartitionYear, "2025-03-31T23:59", "2025-04-01T00:00", false},
		{partition.PartitionYear, "2025-12-31T23:59", "2026-01-01T00:00", true},
	} {
		if got := begins(tt.g, at(tt.last), at(tt.at)); got != tt.want {
			t.Errorf("%s from %s to %s: %v", tt.g, tt.last, tt.at, got)
		}
	}
}

// TestCrashesLeaveOneFullSetADay: which samples carry it follows from their
// times, whatever stopped in between, and nothing else of them changes.
func TestCrashesLeaveOneFullSetADay(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 12))
			dir, log := t.TempDir(), randomLog(t, rng, 1500)
			for range 8 {
				a := open(t, dir, log, withRegistry)
				if rng.IntN(2) == 0 {
					a.opt.RoundEvery = time.Hour // leave everything buffered
				}
				for range rng.IntN(60) {
					a.step(t.Context())
				}
				crash(t, a)
			}
			run(t, open(t, dir, log, withRegistry))
			kept, _ := oracle(log.messages)
			for pv, want := range kept {
				checkFullSets(t, pv, read(t, dir, pv), want)
			}
		})
	}
}

func checkFullSets(t *testing.T, pv schema.PVName, got, want []stored) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d samples in files, want %d", pv, len(got), len(want))
	}
	sets := 0
	for i := range want {
		more, ok := strings.CutPrefix(got[i].event, want[i].event)
		if !ok || got[i].at != want[i].at {
			t.Fatalf("%s: sample %d is %+v, want %+v and fields", pv, i, got[i], want[i])
		}
		if full := i == 0 || begins(hour, want[i-1].at, want[i].at); full != (more != "") {
			t.Errorf("%s: sample %d at %v has %q, a full set is due: %v", pv, i, got[i].at, more, full)
		} else if full {
			sets++
		}
	}
	if sets < 2 {
		t.Errorf("%s: %d full sets are no test", pv, sets)
	}
}
