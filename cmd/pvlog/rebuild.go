package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
)

// rebuildCmd asks a running server to compare partitions with the raw log.
type rebuildCmd struct {
	client
	PV       string `name:"pv" required:"" placeholder:"GLOB" help:"PVs whose files are compared, such as 'LINAC:*'."`
	Since    string `placeholder:"TIME" help:"Only samples that the log stored since then: 2026-11-25T08:00:00Z, or an age such as 2h. Without it, all that the log has."`
	Until    string `placeholder:"TIME" help:"Only samples that it stored before."`
	DryRun   bool   `name:"dry-run" help:"Compare only, which is what happens without --write."`
	Write    bool   `help:"Merge in what is missing."`
	Because  string `placeholder:"TEXT" help:"Why, for the history."`
	ChangeID string `name:"change-id" placeholder:"ID" help:"Go on with a rebuild whose answer was lost."`
	Format   string `default:"text" enum:"text,json" help:"text, or json: a line for each PV as it is through."`
}

// Run compares, and fails if the files are not what the log gives.
func (c *rebuildCmd) Run(ctx context.Context) error {
	if c.DryRun && c.Write {
		return exitError{exitUsage, errors.New("--dry-run writes nothing: leave out one of --dry-run and --write")}
	}
	body, err := json.Marshal(replayRequest{PV: c.PV, Rebuild: true, Since: c.Since, Until: c.Until, DryRun: !c.Write, ChangeID: c.ChangeID, Reason: c.Because})
	if err != nil {
		return err
	}
	stream, err := c.open(ctx, http.MethodPost, "/api/v1/replays", nil, body)
	if err != nil {
		return err
	}
	report := replayReport{out: os.Stdout, err: os.Stderr, json: c.Format == "json", dry: !c.Write, rebuild: true, streamReport: streamReport{bar: newBar(os.Stderr, "compared")}}
	err = errors.Join(report.read(stream), stream.Close())
	if s := report.summary; err == nil && s.Differs+s.Additional > 0 || err == nil && !c.Write && s.Added > 0 {
		err = exitError{exitPartial, fmt.Errorf("the files of %s are not what the log gives", c.PV)}
	}
	return err
}

// rebuilt words how files compare with the log.
func (r *replayReport) rebuilt(added, there, differs, additional int) string {
	word := "were missing and are there now"
	if r.dry {
		word = "are missing"
	}
	text := grouped(there) + " samples equal"
	for _, part := range []struct {
		n    int
		word string
	}{{added, word}, {differs, "differ"}, {additional, "are not in the log"}} {
		if part.n > 0 {
			text += fmt.Sprintf(", %s %s", grouped(part.n), part.word)
		}
	}
	return text
}

// places prints where files are not what the log gives.
func (r *replayReport) places(line replayedPV) {
	for _, f := range line.Findings {
		if f.Path == "" {
			fmt.Fprintf(r.out, "  %s  %s\n", f.Time, f.Kind)
		} else {
			fmt.Fprintf(r.out, "  %s  %s at byte %d of %s\n", f.Time, f.Kind, f.Offset, f.Path)
		}
	}
}
