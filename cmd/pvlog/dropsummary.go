package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// dropSummary is the answer of /api/v1/drops/summary.
type dropSummary struct {
	Drops   uint64            `json:"drops"`
	PVs     int               `json:"pv_count"`
	Reasons map[string]uint64 `json:"reasons"`
	Top     []struct {
		PV      string            `json:"pv"`
		Drops   uint64            `json:"drops"`
		Reasons map[string]uint64 `json:"reasons"`
	} `json:"pvs"`
}

// summarize prints how many drops there are, by reason and by PV.
func (c *dropsCmd) summarize(ctx context.Context, query url.Values) error {
	query.Set("top", strconv.Itoa(cmp.Or(c.Limit, 10_000)))
	body, err := c.get(ctx, "/api/v1/drops/summary", query)
	if err != nil {
		return err
	}
	if c.Format == "json" {
		_, err := os.Stdout.Write(body)
		return err
	}
	var s dropSummary
	if err := json.Unmarshal(body, &s); err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.Server, err)
	}
	if c.Format == "csv" {
		return s.printCSV(os.Stdout)
	}
	return s.print(os.Stdout)
}

func (s dropSummary) print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "REASON\tDROPS\n")
	for _, r := range mostFirst(s.Reasons) {
		fmt.Fprintf(table, "%s\t%d\n", r, s.Reasons[r])
	}
	fmt.Fprintf(table, "all\t%d of %d PVs\n\nPV\tDROPS\tREASONS\n", s.Drops, s.PVs)
	for _, p := range s.Top {
		var reasons []string
		for _, r := range mostFirst(p.Reasons) {
			reasons = append(reasons, fmt.Sprintf("%s %d", r, p.Reasons[r]))
		}
		fmt.Fprintf(table, "%s\t%d\t%s\n", cell(p.PV), p.Drops, strings.Join(reasons, ", "))
	}
	return table.Flush()
}

// printCSV prints a line for each PV and reason.
func (s dropSummary) printCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	rows := [][]string{{"pv", "reason", "drops"}}
	for _, p := range s.Top {
		for _, r := range mostFirst(p.Reasons) {
			rows = append(rows, []string{p.PV, r, strconv.FormatUint(p.Reasons[r], 10)})
		}
	}
	return out.WriteAll(rows)
}

// mostFirst are the reasons of counts, those with most first.
func mostFirst(counts map[string]uint64) []string {
	return slices.SortedFunc(maps.Keys(counts), func(x, y string) int {
		return cmp.Or(cmp.Compare(counts[y], counts[x]), cmp.Compare(x, y))
	})
}
