package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// dropsCmd asks a running server: the drop log belongs to its process.
type dropsCmd struct {
	client
	PV     string `arg:"" optional:"" default:"*" help:"PV name or glob."`
	Reason string `help:"Only this reason: drift_future, drift_past, before_1991, nanos, order, type, file, damaged, unregistered."`
	Limit  int    `default:"1000" help:"Newest drops to list at most."`
	Format string `default:"table" enum:"table,json" help:"table or json."`
}

// drop is one element of /api/v1/drops.
type drop struct {
	PV       string          `json:"pv"`
	Reason   string          `json:"reason"`
	Detail   string          `json:"detail"`
	Secs     int64           `json:"secs"`
	Nanos    uint32          `json:"nanos"`
	Severity int32           `json:"severity"`
	Status   int32           `json:"status"`
	Value    json.RawMessage `json:"value"`
}

// Run prints the drops, oldest first.
func (c *dropsCmd) Run(ctx context.Context) error {
	query := url.Values{"pv": {c.PV}, "reason": {c.Reason}, "limit": {strconv.Itoa(c.Limit)}}
	body, err := c.get(ctx, "/api/v1/drops", query)
	if err != nil {
		return err
	}
	if c.Format == "json" {
		_, err := os.Stdout.Write(body)
		return err
	}
	var drops []drop
	if err := json.Unmarshal(body, &drops); err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.Server, err)
	}
	return printDrops(os.Stdout, drops)
}

func printDrops(w io.Writer, drops []drop) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PV\tTIME\tVALUE\tSEV\tREASON\tDETAIL")
	for _, d := range drops {
		at := time.Unix(d.Secs, int64(d.Nanos)).UTC().Format("2006-01-02T15:04:05.000000000Z")
		fmt.Fprintf(table, "%s\t%s\t%.40s\t%d\t%s\t%s\n", cell(d.PV), at, cell(string(d.Value)), d.Severity, d.Reason, cell(d.Detail))
	}
	return table.Flush()
}

// cell makes text fit for a table on a terminal: a damaged message's PV may be
// called anything, an error may have several lines.
func cell(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}
