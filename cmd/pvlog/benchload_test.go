package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// asPvlog has the test binary be pvlog: benchmarks start themselves again.
const asPvlog = "PVLOG_TEST_AS_PVLOG"

func TestMain(m *testing.M) {
	if os.Getenv(asPvlog) != "" {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// TestBenchesFindEverySampleInTheFiles runs both in small, over the hour, in
// processes of their own.
func TestBenchesFindEverySampleInTheFiles(t *testing.T) {
	t.Setenv(asPvlog, "1")
	for name, c := range map[string]struct {
		measure  measureLoad
		elements int
	}{
		"archive": {measureArchive, 1}, "archive of waveforms": {measureArchive, 100},
		"pipeline": {(&benchPipelineCmd{}).measure, 1}, "pipeline of waveforms": {(&benchPipelineCmd{IOCs: 2}).measure, 100},
	} {
		t.Run(name, func(t *testing.T) {
			l := load{PVs: 20, Rate: 10, Seconds: 1, Elements: c.elements, Roll: true}
			r, err := c.measure(t.Context(), t.TempDir(), l, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			// A busy machine may be slow; it loses nothing.
			if r.Found < 200 || r.Missing+r.Repeated+r.Disordered != 0 {
				t.Errorf("found %d, %d missing, %d twice, %d out of order", r.Found, r.Missing, r.Repeated, r.Disordered)
			}
			if r.Files != 40 {
				t.Errorf("%d files of 20 PVs over an hour's end, want two each", r.Files)
			}
			// A second may pass without a round, and a message fall to either side of its ends.
			if r.Samples < 1 || r.CPU <= 0 || r.SamplesPerMsg < 0.9 || r.FileBytes < float64(8*c.elements) || r.RSSMax < r.RSSMean || r.RSSMean < 1<<20 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestCheckSeesWhatIsWrong: the verdict of a benchmark rests on it.
func TestCheckSeesWhatIsWrong(t *testing.T) {
	start := schema.Time{Sec: time.Date(2026, 11, 25, 11, 59, 58, 0, time.UTC).Unix()}
	for name, c := range map[string]struct {
		values []float64 // a second apart, 0 in seconds: not later
		stuck  int       // index whose time is that of the one before
		want   check
	}{
		"sound":        {[]float64{3, 4, 5, 6}, 0, check{Found: 4}},
		"a gap":        {[]float64{3, 4, 7, 8}, 0, check{Found: 4, Missing: 2}},
		"a repeat":     {[]float64{3, 4, 4, 5}, 0, check{Found: 4, Repeated: 1}},
		"out of order": {[]float64{3, 4, 5, 6}, 1, check{Found: 4, Disordered: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			files := map[int64][]byte{}
			for i, v := range c.values {
				at := schema.Time{Sec: start.Sec + int64(i)}
				if c.stuck > 0 && i == c.stuck {
					at.Sec--
				}
				hour := partition.PartitionHour.Start(at)
				files[hour] = partition.AppendLine(files[hour], schema.AppendDouble(schema.AppendHead(nil, at), v))
			}
			for hour, lines := range files {
				path := partition.Path(storeOf(dir), schema.ChunkKey("load:000001"), partition.PartitionHour, hour)
				header := partition.AppendHeader(nil, partition.Header{Type: schema.ScalarDouble, PV: "load:000001", Year: 2026})
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, append(header, lines...), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := checkFiles(dir, []string{"load:000001", "load:000002"})
			if err != nil {
				t.Fatal(err)
			}
			if got.Files != 2 || got.Bytes == 0 {
				t.Errorf("%+v", got)
			}
			if got.Files, got.Bytes = 0, 0; got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func TestOnlyALoadWithoutLossIsHeld(t *testing.T) {
	sound := loadResult{load: load{PVs: 10, Rate: 10}, PerSecond: 99, DrainSeconds: 1, check: check{Found: 100}}
	for want, change := range map[string]func(*loadResult){
		"":                        func(*loadResult) {},
		"3 samples missing":       func(r *loadResult) { r.Found = 97 },
		"1 twice":                 func(r *loadResult) { r.Repeated = 1 },
		"1 out of order":          func(r *loadResult) { r.Disordered = 1 },
		"50 of 100 samples/s":     func(r *loadResult) { r.PerSecond = 50 },
		"16 s behind":             func(r *loadResult) { r.DrainSeconds = 16 },
		"IOCs were too slow: 100": func(r *loadResult) { r.IOCSkipped = 100 },
	} {
		r := sound
		change(&r)
		r.judge(100)
		if r.Held != (want == "") || !strings.Contains(r.Why, want) {
			t.Errorf("want %q: %v, %q", want, r.Held, r.Why)
		}
	}
}

// TestCapacityIsBetweenHeldAndNot lets a load be held up to a rate.
func TestCapacityIsBetweenHeldAndNot(t *testing.T) {
	for limit, want := range map[float64][]float64{
		700:  {100, 200, 400, 800, 600, 700, 750},
		50:   {100, 50, 75, 62.5},
		2000: {100, 200, 400, 800, 1000},
	} {
		var rates []float64
		tried, err := (&benchLoadFlags{}).search(load{Rate: 100}, func(l load) (loadResult, error) {
			rates = append(rates, l.Rate)
			return loadResult{load: l, Held: l.Rate <= limit}, nil
		})
		if err != nil || len(tried) != len(want) || !slices.Equal(rates, want) {
			t.Errorf("up to %g: %v, %v", limit, rates, err)
		}
	}
}

func TestBenchRefusesLoadsThatAreNone(t *testing.T) {
	good := benchLoadFlags{PVs: 1, Rate: 1, Seconds: 1, Linger: "default", Type: "double", Elements: 2, Bare: 1000}
	for want, change := range map[string]func(*benchLoadFlags){
		"--pvs":      func(f *benchLoadFlags) { f.PVs = 0 },
		"--rate":     func(f *benchLoadFlags) { f.Rate = 1001 },
		"--seconds":  func(f *benchLoadFlags) { f.Seconds = 0 },
		"--linger":   func(f *benchLoadFlags) { f.Linger = "soon" },
		"--elements": func(f *benchLoadFlags) { f.Type, f.Elements = "waveform", 1 },
		"--bare":     func(f *benchLoadFlags) { f.Bare = 1 },
	} {
		f := good
		change(&f)
		err := f.run(t.Context(), "archive", nil, io.Discard, nil)
		if err == nil || !strings.Contains(err.Error(), want) || exitCode(err) != exitUsage {
			t.Errorf("%s: %v", want, err)
		}
	}
	good.All, good.Linger = true, "default,0"
	loads, err := good.loads()
	if err != nil || len(loads) != 2*len(presets) || loads[0].Linger != 0 || loads[1].Linger >= 0 || loads[13].perSecond() != 100_000 {
		t.Errorf("%+v, %v", loads, err)
	}
}

// TestBenchPrintsATableOrJSON measures nothing but bare JetStream.
func TestBenchPrintsATableOrJSON(t *testing.T) {
	f := benchLoadFlags{PVs: 7, Rate: 3, Seconds: 1, Linger: "0", Type: "double", Bare: 1000, Dir: t.TempDir()}
	measure := func(_ context.Context, _ string, l load, _ *slog.Logger) (loadResult, error) {
		return loadResult{load: l, CPU: 5, check: check{Found: 4711}, Why: "too slow"}, nil
	}
	var table, lines bytes.Buffer
	if err := f.run(t.Context(), "archive", measure, &table, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"samples/msg", "4711", "no: too slow"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, table.String())
		}
	}
	f.JSON = true
	if err := f.run(t.Context(), "archive", measure, &lines, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	var r loadResult
	if err := json.Unmarshal(lines.Bytes(), &r); err != nil || r.Found != 4711 || r.Bare <= 0 || r.Ratio != r.CPU/r.Bare || r.PVs != 7 {
		t.Errorf("%s: %v", lines.String(), err)
	}
}

func TestMetricsAreReadFromText(t *testing.T) {
	got := parseMetrics([]byte("# HELP a x\na{reason=\"x y\"} 1\na{reason=\"z\"} 2\nb_sum 1.5e+06\n"))
	if got["a"] != 3 || got["b_sum"] != 1.5e6 || len(got) != 2 {
		t.Errorf("%v", got)
	}
}
