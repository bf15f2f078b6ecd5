package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

type retypeCmd struct {
	client
	PV     string `arg:"" name:"pv" help:"The PV; it must be paused."`
	Type   string `arg:"" help:"Its new type, such as SCALAR_DOUBLE or WAVEFORM_INT."`
	Lossy  bool   `help:"Take the nearest for values that the type cannot hold; without it they are refused."`
	DryRun bool   `name:"dry-run" help:"Change nothing, and list values that the type cannot hold."`
	Reason string `placeholder:"TEXT" help:"Why, for the history."`
	Format string `default:"text" enum:"text,json" help:"text or json."`
}

// typeChange is the server's answer to a change of type.
type typeChange struct {
	PV      string `json:"pv"`
	Type    string `json:"type"`
	Was     string `json:"was"`
	DryRun  bool   `json:"dry_run"`
	Files   int    `json:"files"`
	Samples int    `json:"samples"`
	Lost    int    `json:"lost"`
	Losses  []struct {
		File    string `json:"file"`
		Line    int    `json:"line"`
		Time    string `json:"time"`
		Problem string `json:"problem"`
	} `json:"losses"`
	Seq uint64 `json:"seq"`
}

// Run converts the stored samples of a PV.
func (c *retypeCmd) Run(ctx context.Context) error {
	body, err := json.Marshal(map[string]any{"type": dbrName(c.Type), "lossy": c.Lossy, "dry_run": c.DryRun, "reason": c.Reason})
	if err != nil {
		return err
	}
	answer, err := c.all(ctx, http.MethodPut, "/api/v1/pvs/"+url.PathEscape(c.PV)+"/type", nil, body)
	if err != nil {
		return err
	}
	if c.Format == "json" {
		_, err := os.Stdout.Write(answer)
		return err
	}
	var change typeChange
	if err := json.Unmarshal(answer, &change); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	if err := change.print(os.Stdout); err != nil {
		return err
	}
	if c.DryRun && change.Lost > 0 && !c.Lossy {
		return exitError{exitPartial, errors.New("values would be lost: with --lossy they become the nearest that the type holds")}
	}
	return nil
}

// dbrName is a type as the Appliance writes it, whatever is left out or in
// small letters.
func dbrName(text string) string {
	name := strings.ToUpper(strings.TrimSpace(text))
	if !strings.HasPrefix(name, "DBR_") {
		name = "DBR_" + name
	}
	return name
}

func (t typeChange) print(w io.Writer) error {
	for _, l := range t.Losses {
		if _, err := fmt.Fprintf(w, "%s line %d (%s): %s\n", l.File, l.Line, l.Time, l.Problem); err != nil {
			return err
		}
	}
	if more := t.Lost - len(t.Losses); more > 0 && len(t.Losses) > 0 {
		if _, err := fmt.Fprintf(w, "and %s more\n", grouped(more)); err != nil {
			return err
		}
	}
	verb := "were converted"
	if t.DryRun {
		verb = "would be converted"
	}
	_, err := fmt.Fprintf(w, "%s: %s samples in %s files %s from %s to %s", t.PV, grouped(t.Samples), grouped(t.Files), verb,
		strings.TrimPrefix(t.Was, "DBR_"), strings.TrimPrefix(t.Type, "DBR_"))
	switch {
	case err != nil:
	case t.Lost > 0:
		_, err = fmt.Fprintf(w, ", %s with another value\n", grouped(t.Lost))
	case t.Seq > 0:
		_, err = fmt.Fprintf(w, " (pvlog registry undo %d brings the old files back)\n", t.Seq)
	default:
		_, err = fmt.Fprintln(w)
	}
	return err
}
