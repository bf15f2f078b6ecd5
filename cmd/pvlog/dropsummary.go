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
	"time"
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
	Keeping struct {
		Bytes    int64   `json:"bytes"`
		MaxBytes int64   `json:"max_bytes"`
		Keep     float64 `json:"keep"`
		Expired  uint64  `json:"expired"`
		Reasons  map[string]struct {
			Expired uint64     `json:"expired"`
			Leaves  *time.Time `json:"leaves"`
		} `json:"reasons"`
	} `json:"keeping"`
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
	fmt.Fprintf(table, "REASON\tDROPS\tEXPIRED\tOLDEST LEAVES\n")
	counts := maps.Clone(s.Reasons)
	for r := range s.Keeping.Reasons {
		counts[r] += 0
	}
	for _, r := range mostFirst(counts) {
		leaves := "-"
		if at := s.Keeping.Reasons[r].Leaves; at != nil {
			leaves = second(*at)
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%s\n", r, counts[r], s.Keeping.Reasons[r].Expired, leaves)
	}
	fmt.Fprintf(table, "all\t%d\t%d\tafter %v; %s of %s are free\n\n", s.Drops, s.Keeping.Expired,
		time.Duration(s.Keeping.Keep*float64(time.Second)), size(max(0, s.Keeping.MaxBytes-s.Keeping.Bytes)), size(s.Keeping.MaxBytes))
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(table, "PV\tDROPS\tREASONS\n")
	for _, p := range s.Top {
		var reasons []string
		for _, r := range mostFirst(p.Reasons) {
			reasons = append(reasons, fmt.Sprintf("%s %d", r, p.Reasons[r]))
		}
		fmt.Fprintf(table, "%s\t%d\t%s\n", cell(p.PV), p.Drops, strings.Join(reasons, ", "))
	}
	if more := s.PVs - len(s.Top); more > 0 {
		fmt.Fprintf(table, "and %d PVs more\n", more)
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
