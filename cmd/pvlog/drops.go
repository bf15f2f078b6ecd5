package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
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
	PV       string   `arg:"" optional:"" default:"*" help:"PV name or glob."`
	Reason   []string `help:"Only these reasons: drift_future, drift_past, before_1991, nanos, order, type, rate, file, damaged, unregistered."`
	Since    string   `placeholder:"TIME" help:"Only samples that reached the log since then: 24h (ago), 7d, or ISO 8601 such as 2026-11-23T08:00:00Z."`
	Until    string   `placeholder:"TIME" help:"Only samples that reached the log before then."`
	Limit    int      `default:"1000" help:"Newest drops to list at most; 0 lists all, oldest first."`
	Format   string   `default:"table" enum:"table,csv,json" help:"table, csv or json."`
	Replayed bool     `help:"Look for each drop in its PV's files, and mark those that stand there by now."`
	Summary  bool     `help:"Count drops by reason, and by PV: the --limit with most."`
}

// drop is one element of /api/v1/drops.
type drop struct {
	PV       string          `json:"pv"`
	Time     string          `json:"time"`
	Reason   string          `json:"reason"`
	Detail   string          `json:"detail"`
	Severity int32           `json:"severity"`
	Value    json.RawMessage `json:"value"`
	Envelope struct {
		Received time.Time `json:"received"`
	} `json:"envelope"`
	Position struct {
		Sequence uint64 `json:"sequence"`
		Index    int    `json:"index"`
	} `json:"position"`
	Cursor   string `json:"cursor"`
	Replayed bool   `json:"replayed"`
}

// dropsPage is how many drops are asked for at once when all are listed.
const dropsPage = 10_000

// Run prints the drops, oldest first, or counts them.
func (c *dropsCmd) Run(ctx context.Context) error {
	if c.Limit < 0 {
		return exitError{exitUsage, errors.New("--limit: use 0 for all drops, or how many")}
	}
	query := url.Values{"pv": {c.PV}}
	for name, value := range map[string]string{"reason": strings.Join(c.Reason, ","), "since": c.Since, "until": c.Until} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if c.Replayed && !c.Summary {
		query.Set("replayed", "true")
	}
	if c.Summary {
		return c.summarize(ctx, query)
	}
	switch c.Format {
	case "csv":
		return c.printCSV(ctx, query)
	case "json":
		return c.printJSON(ctx, query)
	}
	table := dropTable(os.Stdout)
	if err := c.each(ctx, query, func(_ json.RawMessage, d drop) error { return d.print(table) }); err != nil {
		return err
	}
	return table.Flush()
}

// dropTable begins a table of drops.
func dropTable(w io.Writer) *tabwriter.Writer {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PV\tTIME\tRECEIVED\tVALUE\tSEV\tREASON\tPOSITION\tDETAIL")
	return table
}

// print adds a line to a table.
func (d drop) print(w io.Writer) error {
	received := ""
	if at := d.Envelope.Received; !at.IsZero() {
		received = at.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	reason := d.Reason
	if d.Replayed {
		reason += ", replayed"
	}
	_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%.40s\t%d\t%s\t%d/%d\t%s\n", cell(d.PV), d.Time, received, cell(string(d.Value)),
		d.Severity, reason, d.Position.Sequence, d.Position.Index, cell(d.Detail))
	return err
}

// printJSON prints one array, a drop a line.
func (c *dropsCmd) printJSON(ctx context.Context, query url.Values) error {
	separator := "["
	err := c.each(ctx, query, func(raw json.RawMessage, _ drop) error {
		_, err := fmt.Printf("%s%s", separator, raw)
		separator = ",\n"
		return err
	})
	if err == nil && separator == "[" {
		fmt.Print("[")
	}
	if err == nil {
		_, err = fmt.Println("]")
	}
	return err
}

// each calls do with every drop, page after page if all are asked for.
func (c *dropsCmd) each(ctx context.Context, query url.Values, do func(json.RawMessage, drop) error) error {
	return c.pages(ctx, query, func(body io.Reader) (n int, last string, err error) {
		decoder := json.NewDecoder(body)
		if _, err := decoder.Token(); err != nil {
			return 0, "", err
		}
		for ; decoder.More(); n++ {
			var raw json.RawMessage
			var d drop
			if err := decoder.Decode(&raw); err != nil {
				return n, last, err
			}
			if err := json.Unmarshal(raw, &d); err != nil {
				return n, last, err
			}
			if err := do(raw, d); err != nil {
				return n, last, err
			}
			last = d.Cursor
		}
		_, err = decoder.Token()
		return n, last, err
	})
}

// printCSV prints the server's lines, of several pages under one heading.
func (c *dropsCmd) printCSV(ctx context.Context, query url.Values) error {
	query.Set("format", "csv")
	out := csv.NewWriter(os.Stdout)
	headed := false
	err := c.pages(ctx, query, func(body io.Reader) (n int, last string, err error) {
		in := csv.NewReader(body)
		for n = -1; ; n++ { // the heading is none
			row, err := in.Read()
			if err == io.EOF {
				return n, last, nil
			}
			if err != nil {
				return n, last, err
			}
			if n < 0 && headed {
				continue
			}
			if err := out.Write(row); err != nil {
				return n, last, err
			}
			headed, last = true, row[len(row)-1]
		}
	})
	out.Flush()
	return errors.Join(err, out.Error())
}

// pages hands out the answers, one or, if all drops are asked for, until one is
// not full. read gives how many drops there were and the last one's cursor.
func (c *dropsCmd) pages(ctx context.Context, query url.Values, read func(io.Reader) (int, string, error)) error {
	limit := c.Limit
	if limit == 0 {
		limit = dropsPage
		query.Set("after", "0")
	}
	query.Set("limit", strconv.Itoa(limit))
	for {
		body, err := c.open(ctx, http.MethodGet, "/api/v1/drops", query, nil)
		if err != nil {
			return err
		}
		n, last, err := read(body)
		if err = errors.Join(err, body.Close()); err != nil {
			return fmt.Errorf("read the answer of %s: %w", c.Server, err)
		}
		if c.Limit > 0 || n < limit {
			return nil
		}
		query.Set("after", last)
	}
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
