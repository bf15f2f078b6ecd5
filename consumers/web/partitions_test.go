package web

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// fakePartitions are an archive's answers: one file each.
func fakePartitions() Partitions {
	header := partition.Header{Type: schema.ScalarDouble, PV: "LINAC:BPM1:X", Year: 2014}
	report := partition.Report{Path: "/arch/X:2014.pb", Header: header, HasHeader: true, Size: 99, Samples: 2,
		First: schema.Time{Sec: 1400000000}, Last: schema.Time{Sec: 1400000001}, Problems: map[partition.Kind]int{partition.Order: 1, partition.Outside: 1}}
	problems := []partition.Problem{{Kind: partition.Order, Line: 3, Offset: 60, Text: "too early"}}
	return Partitions{
		Verify: func(context.Context, schema.PVName, int) ([]CheckedFile, error) {
			return []CheckedFile{{Store: "LTS", Report: report, Problems: problems}}, nil
		},
		Repair: func(_ context.Context, _ schema.PVName, dry, future bool) ([]*partition.Repair, error) {
			r := &partition.Repair{Path: report.Path, Before: report, Sorted: 1, Whole: future}
			if !dry {
				r.Kept, r.Backup = 2, report.Path+".bak"
			}
			return []*partition.Repair{r}, nil
		},
		Adopt: func(_ context.Context, _ schema.PVName, files []string, _ AdoptOptions) ([]AdoptedFile, error) {
			var all []AdoptedFile
			for i := range files {
				outcome := []string{"adopted", "differs", "no_store"}[i%3]
				all = append(all, AdoptedFile{CheckedFile: CheckedFile{Store: "LTS", Report: report}, Outcome: outcome, Granularity: partition.PartitionYear, Elements: 1})
			}
			return all, nil
		},
		Merge: func(context.Context, schema.PVName, string) (Merged, error) { return Merged{Added: 7, There: 2}, nil },
	}
}

func TestRepairTellsWhatItDidAndWhatIsLeft(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Partitions = fakePartitions() })
	f.archive("LINAC:BPM1:X")
	for query, backup := range map[string]string{"": "/arch/X:2014.pb.bak", "?dry_run=true": "", "?dry_run=true&future=true": "", "?future=true": "/arch/X:2014.pb.bak"} {
		resp, text := f.ask("POST", "/api/v1/pvs/LINAC:BPM1:X/repair"+query, "", "")
		var answer struct {
			DryRun bool           `json:"dry_run"`
			Future bool           `json:"future"`
			Files  []repairedJSON `json:"files"`
		}
		if err := json.Unmarshal([]byte(text), &answer); err != nil || resp.StatusCode != 200 || len(answer.Files) != 1 {
			t.Fatalf("%d %s, %v", resp.StatusCode, text, err)
		}
		file := answer.Files[0]
		if !file.Repaired || file.Sorted != 1 || file.Counts["order"] != 1 || file.Left["order"] != 0 || (file.Left["span"] == 0) != file.Whole ||
			file.Backup != backup || answer.DryRun != (backup == "") ||
			answer.Future != strings.Contains(query, "future") || file.Whole != answer.Future {
			t.Errorf("%s", text)
		}
	}
}

func TestImportRegistersThePVOfItsFiles(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Partitions = fakePartitions() })
	ask := func(body string) (registered string, outcomes []string) {
		t.Helper()
		resp, text := f.ask("POST", "/api/v1/pvs/LINAC:BPM9:X/import", "", body)
		var answer struct {
			Registered string         `json:"registered"`
			Files      []importedJSON `json:"files"`
		}
		if err := json.Unmarshal([]byte(text), &answer); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%d %s, %v", resp.StatusCode, text, err)
		}
		for _, file := range answer.Files {
			outcomes = append(outcomes, file.Outcome)
			if file.Outcome == "merged" && (file.Added != 7 || file.Present != 2) {
				t.Errorf("%s", text)
			}
		}
		return answer.Registered, outcomes
	}
	if got, _ := ask(`{"files":["/a"],"dry_run":true}`); got != "would" {
		t.Errorf("dry run: %s", got)
	}
	if _, ok := f.registry.Get("LINAC:BPM9:X"); ok {
		t.Error("a dry run registered the PV")
	}
	got, outcomes := ask(`{"files":["/a","/b","/c"],"mode":"move"}`)
	if got != "new" || !slices.Equal(outcomes, []string{"adopted", "differs", "no_store"}) {
		t.Errorf("%s %v", got, outcomes)
	}
	info, ok := f.registry.Get("LINAC:BPM9:X")
	if !ok || info.State != schema.Paused || info.DBRType != schema.ScalarDouble || info.ElementCount != 1 || info.SamplingMethod != schema.Monitor {
		t.Errorf("registered as %+v", info)
	}
	got, outcomes = ask(`{"files":["/a","/b","/c"],"merge":true,"state":"archiving"}`)
	if got != "already" || !slices.Equal(outcomes, []string{"adopted", "merged", "no_store"}) {
		t.Errorf("%s %v", got, outcomes)
	}
	if info, _ := f.registry.Get("LINAC:BPM9:X"); info.State != schema.Paused {
		t.Errorf("a second import made a registered PV %s", info.State)
	}
}
