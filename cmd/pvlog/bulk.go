package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// changeFlags are common to all commands that change PVs.
type changeFlags struct {
	Reason   string `placeholder:"TEXT" help:"Why, for the history."`
	DryRun   bool   `name:"dry-run" help:"Change nothing, and say what would become of each PV."`
	ChangeID string `name:"change-id" placeholder:"ID" help:"Go on with a change whose answer was lost."`
	Format   string `default:"text" enum:"text,json" help:"text, or json: a line for each PV as it comes into force."`
}

func (f changeFlags) query() url.Values {
	query := url.Values{}
	for name, text := range map[string]string{"reason": f.Reason, "change_id": f.ChangeID} {
		if text != "" {
			query.Set(name, text)
		}
	}
	if f.DryRun {
		query.Set("dry_run", "true")
	}
	return query
}

// changeLine is a line of the answer to a command on many PVs.
type changeLine struct {
	streamLine
	PV      string         `json:"pv"`
	Status  string         `json:"status"`
	Summary *changeSummary `json:"summary"`
}

// streamLine is what the lines of all streamed answers have in common.
type streamLine struct {
	Change *struct {
		ID    string `json:"id"`
		Total int    `json:"total"`
	} `json:"change"`
	Progress *progress `json:"progress"`
	Problem  *problem  `json:"problem"` // of a PV, or of the command as a whole
}

// streamReport is what is known of a command whose answer is streamed.
type streamReport struct {
	bar   *bar // nil: no terminal
	id    string
	whole error // why the command as a whole failed
}

// took takes a line that is about the command and not about a PV, if it is one.
func (r *streamReport) took(line streamLine, pv string) bool {
	switch {
	case line.Change != nil:
		r.id = line.Change.ID
		r.bar.show(progress{0, line.Change.Total})
	case line.Progress != nil:
		r.bar.show(*line.Progress)
	case line.Problem != nil && pv == "":
		r.whole = errors.New(line.Problem.text())
	default:
		return false
	}
	return true
}

type progress struct {
	Done  int `json:"done"`
	Total int `json:"total"`
}

type changeSummary struct {
	ChangeID  string `json:"change_id"`
	DryRun    bool   `json:"dry_run"`
	Total     int    `json:"total"`
	Changed   int    `json:"changed"`
	Unchanged int    `json:"unchanged"`
	Failed    int    `json:"failed"`
}

// bulkReport tells a person, or a program, what becomes of a command.
type bulkReport struct {
	out, err io.Writer
	json     bool
	verb     string // what a PV is that was changed: archived, paused ...
	streamReport

	named    []string
	failures []string // the first of them
	summary  *changeSummary
}

// Bounds of what a person is told of each PV.
const (
	maxNamed    = 20
	maxFailures = 20
)

// change sends a command on PVs and reports as they come into force.
func (c client) change(ctx context.Context, verb, path string, flags changeFlags, query url.Values, contentType string, body []byte) error {
	headers := http.Header{"Content-Type": {contentType}, "Accept": {"application/x-ndjson"}}
	for name, values := range flags.query() {
		query[name] = values
	}
	stream, err := c.send(ctx, http.MethodPost, path, query, headers, body)
	if err != nil {
		return err
	}
	report := &bulkReport{out: os.Stdout, err: os.Stderr, json: flags.Format == "json", verb: verb, streamReport: streamReport{bar: newBar(os.Stderr, verb)}}
	err = report.read(stream)
	return errors.Join(err, stream.Close())
}

// read takes the answer line by line; its end is the verdict.
func (r *bulkReport) read(stream io.Reader) error {
	raw := io.Discard
	if r.json {
		raw = r.out
	}
	failed, err := answerLines(stream, raw, r.take)
	r.bar.end()
	if err != nil {
		return err
	}
	if r.summary == nil {
		return errors.Join(failed, fmt.Errorf("the answer was cut off; the server goes on with the change: `pvlog registry changes %s` shows it, and the same command with --change-id %s waits for it", r.id, r.id))
	}
	return r.end()
}

func (r *bulkReport) take(line changeLine) {
	switch {
	case line.Summary != nil:
		r.summary = line.Summary
	case r.took(line.streamLine, line.PV):
	case line.Status == "failed" && line.Problem != nil:
		if len(r.failures) < maxFailures {
			r.failures = append(r.failures, line.PV+": "+line.Problem.text())
		}
	default:
		r.named = append(r.named[:min(len(r.named), maxNamed)], line.PV+": "+r.word(line.Status))
	}
}

// word is what became of a PV.
func (r *bulkReport) word(status string) string {
	if status == "unchanged" {
		return "unchanged, it is " + r.verb + " already"
	}
	return r.verb
}

// end tells the outcome: each PV of a few, a line for many, and what failed.
func (r *bulkReport) end() error {
	s := r.summary
	if !r.json {
		r.tell()
	}
	for _, line := range r.failures {
		fmt.Fprintln(r.err, line)
	}
	if n := s.Failed - len(r.failures); n > 0 {
		fmt.Fprintf(r.err, "and %d more\n", n)
	}
	switch {
	case r.whole != nil:
		return r.whole
	case s.Failed == 0:
		return nil
	}
	code := exitPartial
	if s.Failed == s.Total {
		code = exitFailed
	}
	return exitError{code, fmt.Errorf("%d of %d PVs failed", s.Failed, s.Total)}
}

func (r *bulkReport) tell() {
	s, would := r.summary, ""
	if s.DryRun {
		would = "would be "
	}
	if s.Changed+s.Unchanged <= maxNamed {
		for _, line := range r.named {
			pv, word, _ := strings.Cut(line, ": ")
			if !strings.HasPrefix(word, "unchanged") {
				word = would + word
			}
			fmt.Fprintf(r.out, "%s: %s\n", pv, word)
		}
		if s.Total <= 1 {
			return
		}
	}
	if s.Changed+s.Unchanged == 0 {
		return
	}
	line := fmt.Sprintf("%s of %s PVs %s%s", grouped(s.Changed), grouped(s.Total), would, r.verb)
	if s.Unchanged > 0 {
		line += fmt.Sprintf(", %s unchanged", grouped(s.Unchanged))
	}
	if !s.DryRun {
		line += " (change " + s.ChangeID + ")"
	}
	fmt.Fprintln(r.out, line)
}

// grouped writes a number with a comma between thousands.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// bar shows progress on one line of a terminal.
type bar struct {
	out   *os.File
	verb  string
	began time.Time
	drawn bool
}

// newBar gives nil where there is no terminal; a nil bar shows nothing.
func newBar(out *os.File, verb string) *bar {
	if !terminal(out) {
		return nil
	}
	return &bar{out: out, verb: verb, began: time.Now()}
}

func (b *bar) show(p progress) {
	if b == nil || p.Total < 2 {
		return
	}
	b.drawn = true
	fmt.Fprintf(b.out, "\r%s\x1b[K", barText(b.verb, p, time.Since(b.began)))
}

func (b *bar) end() {
	if b != nil && b.drawn {
		fmt.Fprint(b.out, "\r\x1b[K")
	}
}

// barWidth is the length of the bar itself: with all around it 80 columns do.
const barWidth = 30

func barText(verb string, p progress, took time.Duration) string {
	full := barWidth * min(p.Done, p.Total) / p.Total
	return fmt.Sprintf("%s [%s%s] %s of %s, %v", verb, strings.Repeat("#", full), strings.Repeat(".", barWidth-full),
		grouped(p.Done), grouped(p.Total), took.Round(100*time.Millisecond))
}
