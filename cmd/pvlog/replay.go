package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// replayCmd asks a running server to put samples back.
type replayCmd struct {
	client
	PV          string        `name:"pv" required:"" placeholder:"GLOB" help:"PVs whose samples are meant, such as 'LINAC:*'."`
	Since       string        `placeholder:"TIME" help:"Only samples that pvlog received since then: 2026-11-25T08:00:00Z, or an age such as 2h."`
	Until       string        `placeholder:"TIME" help:"Only samples that it received before."`
	Reason      []string      `placeholder:"WORD" help:"Only drops of these reasons: drift_future, drift_past, order, file, damaged, unregistered, ... ; all are tried otherwise."`
	Drift       time.Duration `placeholder:"24h" help:"Drift window, past and future, in place of the one that the samples were judged by."`
	DriftPast   time.Duration `name:"drift-past" placeholder:"24h" help:"The same for the past alone."`
	DriftFuture time.Duration `name:"drift-future" placeholder:"1h" help:"The same for the future alone."`
	FromLog     bool          `name:"from-log" help:"Take all samples of the raw log instead of the drops."`
	DryRun      bool          `name:"dry-run" help:"Change nothing, and say what would become of the samples."`
	Because     string        `placeholder:"TEXT" help:"Why, for the history."`
	ChangeID    string        `name:"change-id" placeholder:"ID" help:"Go on with a replay whose answer was lost."`
	Format      string        `default:"text" enum:"text,json" help:"text, or json: a line for each PV as it is through."`
}

// replayRequest is the body of POST /api/v1/replays.
type replayRequest struct {
	PV          string   `json:"pv"`
	Reasons     []string `json:"reasons,omitempty"`
	Since       string   `json:"since,omitempty"`
	Until       string   `json:"until,omitempty"`
	Drift       string   `json:"drift,omitempty"`
	DriftPast   string   `json:"drift_past,omitempty"`
	DriftFuture string   `json:"drift_future,omitempty"`
	FromLog     bool     `json:"from_log,omitempty"`
	Rebuild     bool     `json:"rebuild,omitempty"`
	DryRun      bool     `json:"dry_run,omitempty"`
	ChangeID    string   `json:"change_id,omitempty"`
	Reason      string   `json:"reason,omitempty"`
}

func window(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// Run puts samples back and tells what became of each PV's.
func (c *replayCmd) Run(ctx context.Context) error {
	body, err := json.Marshal(replayRequest{PV: c.PV, Reasons: c.Reason, Since: c.Since, Until: c.Until, FromLog: c.FromLog, DryRun: c.DryRun,
		Drift: window(c.Drift), DriftPast: window(c.DriftPast), DriftFuture: window(c.DriftFuture), ChangeID: c.ChangeID, Reason: c.Because})
	if err != nil {
		return err
	}
	stream, err := c.open(ctx, http.MethodPost, "/api/v1/replays", nil, body)
	if err != nil {
		return err
	}
	report := replayReport{out: os.Stdout, err: os.Stderr, json: c.Format == "json", dry: c.DryRun, streamReport: streamReport{bar: newBar(os.Stderr, "replayed")}}
	return errors.Join(report.read(stream), stream.Close())
}

// replayLine is a line of the answer.
type replayLine struct {
	streamLine
	replayedPV
	Summary *replaySummary `json:"summary"`
}

type replayedPV struct {
	PV      string            `json:"pv"`
	Status  string            `json:"status"`
	Added   int               `json:"added"`
	There   int               `json:"there"`
	Differs int               `json:"differs"`
	Refused map[string]int    `json:"refused"`
	Why     map[string]string `json:"why"`
	First   string            `json:"first"`
	Last    string            `json:"last"`

	Additional int `json:"additional"`
	Findings   []struct {
		Kind   string `json:"kind"`
		Time   string `json:"time"`
		Path   string `json:"path"`
		Offset int64  `json:"offset"`
	} `json:"findings"`
}

type replaySummary struct {
	ChangeID string         `json:"change_id"`
	Total    int            `json:"total"`
	Changed  int            `json:"changed"`
	Failed   int            `json:"failed"`
	Added    int            `json:"added"`
	There    int            `json:"there"`
	Differs  int            `json:"differs"`
	Refused  map[string]int `json:"refused"`

	Additional int `json:"additional"`
}

// replayReport tells a person, or a program, how a replay goes.
type replayReport struct {
	out, err io.Writer
	json     bool
	dry      bool
	rebuild  bool
	streamReport

	told    int
	hidden  int // PVs that are not told one by one
	why     map[string]string
	summary *replaySummary
}

// read takes the answer line by line; its end is the verdict.
func (r *replayReport) read(stream io.Reader) error {
	r.why = map[string]string{}
	raw := io.Discard
	if r.json {
		raw = r.out
	}
	failed, err := answerLines(stream, raw, r.take)
	r.bar.end()
	if err != nil {
		return err
	}
	switch {
	case r.whole != nil:
		return r.whole
	case r.summary == nil:
		return errors.Join(failed, fmt.Errorf("the answer was cut off; the server goes on with the replay: the same command with --change-id %s waits for it", r.id))
	}
	if !r.json {
		r.tell()
	}
	if r.summary.Failed > 0 {
		return exitError{exitPartial, fmt.Errorf("%d of %d PVs failed", r.summary.Failed, r.summary.Total)}
	}
	return nil
}

func (r *replayReport) take(line replayLine) {
	switch {
	case line.Summary != nil:
		r.summary = line.Summary
	case r.took(line.streamLine, line.PV):
	case line.PV != "":
		r.pv(line)
	}
}

// pv tells of a PV, of the first ones by name.
func (r *replayReport) pv(line replayLine) {
	for reason, why := range line.Why {
		if r.why[reason] == "" {
			r.why[reason] = line.PV + ": " + why
		}
	}
	if r.json {
		return
	}
	if r.told >= maxNamed {
		r.hidden++
		return
	}
	r.told++
	r.bar.end()
	if line.Problem != nil {
		fmt.Fprintf(r.out, "%s: %s\n", line.PV, line.Problem.text())
		return
	}
	if r.rebuild {
		fmt.Fprintf(r.out, "%s: %s\n", line.PV, r.rebuilt(line.Added, line.There, line.Differs, line.Additional))
		r.places(line.replayedPV)
		return
	}
	text := fmt.Sprintf("%s: %s", line.PV, r.counts(line.Added, line.There, line.Differs, line.Refused))
	if line.Added > 0 {
		text += fmt.Sprintf(" (%s to %s)", line.First, line.Last)
	}
	fmt.Fprintln(r.out, text)
}

// counts words what became of samples.
func (r *replayReport) counts(added, there, differs int, refused map[string]int) string {
	word := "replayed"
	if r.dry {
		word = "would be replayed"
	}
	parts := []string{fmt.Sprintf("%s %s", grouped(added), word)}
	if there > 0 {
		parts = append(parts, fmt.Sprintf("%s there already", grouped(there)))
	}
	if differs > 0 {
		parts = append(parts, fmt.Sprintf("%s left out: another sample stands at their instant", grouped(differs)))
	}
	for _, reason := range slices.Sorted(maps.Keys(refused)) {
		parts = append(parts, fmt.Sprintf("%s left out: %s", grouped(refused[reason]), reason))
	}
	return strings.Join(parts, ", ")
}

func (r *replayReport) tell() {
	s := r.summary
	if r.hidden > 0 {
		fmt.Fprintf(r.out, "and %s more PVs\n", grouped(r.hidden))
	}
	for _, reason := range slices.Sorted(maps.Keys(r.why)) {
		fmt.Fprintf(r.out, "%s, for example %s\n", reason, cell(r.why[reason]))
	}
	if r.rebuild {
		text := fmt.Sprintf("%s PVs: %s", grouped(s.Total), r.rebuilt(s.Added, s.There, s.Differs, s.Additional))
		if !r.dry {
			text += " (change " + s.ChangeID + ")"
		}
		fmt.Fprintln(r.out, text)
		return
	}
	text := fmt.Sprintf("%s PVs: %s", grouped(s.Total), r.counts(s.Added, s.There, s.Differs, s.Refused))
	switch {
	case r.dry:
		text += "; nothing was changed"
	case s.Added == 0:
		text += "; no file has changed (change " + s.ChangeID + ")"
	default:
		text += " (change " + s.ChangeID + ")"
	}
	fmt.Fprintln(r.out, text)
}
