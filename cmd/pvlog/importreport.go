package main

import (
	"fmt"
	"maps"
	"slices"
)

// importReport counts and tells what an import did.
type importReport struct {
	out *printer
	cmd *importCmd

	found      int // files in the folder
	left       int // of interrupted tools
	unread     int // without a header
	files      int // that the server has judged
	samples    int
	pvs        map[string]int // by registered
	outcomes   map[string]int // files by outcome
	unsound    int
	merged     importedFile // sums
	missing    map[string]int
	problems   []string
	more       int
	failed     int
	unmergable int
}

// importProblems is how many problems a person is told.
const importProblems = 200

func newImportReport(out *printer, c *importCmd) *importReport {
	return &importReport{out: out, cmd: c, pvs: map[string]int{}, outcomes: map[string]int{}, missing: map[string]int{}}
}

func (r *importReport) problem(format string, args ...any) {
	if len(r.problems) == importProblems {
		r.more++
		return
	}
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

// take counts what became of a PV.
func (r *importReport) take(answer importedPV) {
	if r.cmd.JSON {
		printJSON(r.out, answer)
	}
	r.pvs[answer.Registered]++
	for _, f := range answer.Files {
		r.files++
		r.outcomes[f.Outcome]++
		switch f.Outcome {
		case "adopted", "there":
			r.samples += f.Samples
		case "merged":
			r.merged.Added += f.Added
			r.merged.Present += f.Present
			r.merged.Differ += f.Differ
			r.merged.Left += f.Left
			if f.Differ+f.Left > 0 {
				r.unmergable++
				r.problem("%s: %d samples differ from what stands at their instant and %d could not be merged; the file stays where it is", f.Path, f.Differ, f.Left)
			}
		case "no_store":
			r.missing[f.Granularity]++
		default:
			r.problem("%s: %s: %s", f.Path, f.Outcome, f.Why)
		}
		if len(f.Counts) > 0 && (f.Outcome == "adopted" || f.Outcome == "there") {
			r.unsound++
			r.problem("%s: %s, has problems: %s", f.Path, f.Outcome, countsText(f.Counts))
		}
	}
}

// unsolved is how many files or PVs did not get where they should.
func (r *importReport) unsolved() int {
	return r.unread + r.failed + r.unmergable + r.outcomes["differs"] + r.outcomes["no_store"] + r.outcomes["refused"]
}

func (r *importReport) end() {
	if r.cmd.JSON {
		printJSON(r.out, map[string]any{"files": r.files, "samples": r.samples, "pvs": r.pvs, "outcomes": r.outcomes,
			"missing_stores": r.missing, "problems": append([]string{}, r.problems...), "more_problems": r.more})
		return
	}
	out, would := r.out, ""
	if r.cmd.DryRun {
		would = "would be "
	}
	for _, p := range r.problems {
		out.printf("%s\n", p)
	}
	if r.more > 0 {
		out.printf("and %d problems more (--json tells all)\n", r.more)
	}
	for _, granularity := range slices.Sorted(maps.Keys(r.missing)) {
		out.printf("%d files of %s have no store. Add it to the `stores:` of the configuration, from fine to coarse, start pvlog anew and repeat:\n%s",
			r.missing[granularity], granularity, storeLines(granularity))
	}
	if r.unsound > 0 {
		out.printf("%d files have problems and were taken as they are: pvlog repair --pv takes them out\n", r.unsound)
	}
	if r.left > 0 {
		out.printf("%d files that interrupted tools have left were passed by: pvlog verify names them\n", r.left)
	}
	if m := r.merged; r.outcomes["merged"] > 0 {
		out.printf("%d files merged: %d samples added, %d were there\n", r.outcomes["merged"], m.Added, m.Present)
	}
	out.printf("%d files found: %d %sadopted, %d there already, %d merged, %d with another file in their place, %d without a store, %d refused, %d without a header; %d samples\n",
		r.found, r.outcomes["adopted"], would, r.outcomes["there"], r.outcomes["merged"], r.outcomes["differs"], r.outcomes["no_store"], r.outcomes["refused"], r.unread, r.samples)
	state := "paused"
	if r.cmd.Archive {
		state = "archiving"
	}
	out.printf("PVs: %d %sregistered as %s, %d were registered, %d failed\n", r.pvs["new"]+r.pvs["would"], would, state, r.pvs["already"], r.failed)
}
