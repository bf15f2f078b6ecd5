package ingest

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
	"pvlog/schema"
)

func TestCountersSurviveARestart_S7(t *testing.T) {
	file := filepath.Join(t.TempDir(), "counters")
	created := time.Now()
	info := func(pv schema.PVName, created time.Time) *schema.TypeInfo {
		return &schema.TypeInfo{PV: pv, State: schema.Archiving, DBRType: schema.ScalarDouble, Settings: schema.Settings{SamplingMethod: schema.Monitor}, Created: created}
	}
	records := []simioc.Record{{Name: "T:A", Type: ca.DBRDouble, Value: 1.0}, {Name: "T:B", Type: ca.DBRDouble, Value: 1.0}}
	start := func(infos ...*schema.TypeInfo) *rig {
		return newRig(t, records, func(o *Options) {
			o.CountersFile = file
			o.Initial = func() ([]*schema.TypeInfo, uint64) { return infos, 9 }
		})
	}
	r := start(info("T:A", created), info("T:B", created))
	r.sampled(t, "T:A", 1)
	r.sampled(t, "T:B", 1)
	r.ioc.DisconnectAll()
	r.sampled(t, "T:A", 2)
	r.sampled(t, "T:B", 2)
	r.stop()
	before, _ := r.engine.Counters("T:A")
	if before.Received != 2 || before.Disconnects != 1 {
		t.Fatalf("counters %+v", before)
	}

	paused := info("T:A", created)
	paused.State = schema.Paused
	r = start(paused, info("T:B", created.Add(1))) // T:B was deleted and registered anew
	r.sampled(t, "T:B", 1)
	r.stop()
	if after, ok := r.engine.Counters("T:A"); !ok || after != before {
		t.Errorf("counters %+v became %+v", before, after)
	}
	if n, _ := r.engine.Counters("T:B"); n.Received != 1 || n.Disconnects != 0 {
		t.Errorf("a new registration has the counters of the old one: %+v", n)
	}
}

func TestADamagedCountersFileCostsOnlyTheCounters(t *testing.T) {
	h := historyOf([12]int64{5, 1, 2, 3, 4, 5, 6, 7, 8, -1})
	good := string(encodeCounters(map[schema.PVName]*history{`A:B.{"arr": {"s": 1}}`: h, "C": h}))
	if got, err := decodeCounters(good); err != nil || len(got) != 2 || got["C"].numbers() != h.numbers() || got[`A:B.{"arr": {"s": 1}}`] == nil {
		t.Fatalf("read back %v, %v", got, err)
	}
	file := filepath.Join(t.TempDir(), "counters")
	for i := range good {
		for _, text := range []string{good[:i], good[:i] + "x" + good[i+1:]} {
			if got, err := decodeCounters(text); err == nil && len(got) != 2 && i != len(good)-1 {
				t.Errorf("%q gives %d PVs", text, len(got))
			}
		}
	}
	for _, text := range []string{"", good[:len(good)/2], strings.Replace(good, "5", "five", 1)} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var lines bytes.Buffer
		e, _ := newTestEngine(t, func(o *Options) {
			o.CountersFile, o.Logger = file, slog.New(slog.NewTextHandler(&lines, nil))
		})
		e.loadCounters([]*schema.TypeInfo{{PV: "C", Created: time.Unix(0, 5)}})
		if _, ok := e.Counters("C"); ok || !strings.Contains(lines.String(), file) {
			t.Errorf("%q: taken, or not told: %s", text, &lines)
		}
	}
}

func FuzzDecodeCounters(f *testing.F) {
	f.Add(string(encodeCounters(map[schema.PVName]*history{"A:B": newHistory(1)})))
	f.Add(countersVersion + "\nend 0\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := decodeCounters(text)
		if err != nil {
			return
		}
		again, err := decodeCounters(string(encodeCounters(got)))
		if err != nil || len(again) != len(got) {
			t.Fatalf("%d PVs, read back %d: %v", len(got), len(again), err)
		}
		for pv, h := range got {
			if again[pv] == nil || again[pv].numbers() != h.numbers() {
				t.Fatalf("%q changed", pv)
			}
		}
	})
}
