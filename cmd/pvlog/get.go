package main

import (
	"bufio"
	"context"
	"encoding/json"
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

type getCmd struct {
	client
	PV     string `arg:"" name:"pv" help:"PV name."`
	From   string `default:"-1h" help:"Begin: now, -30m, -1h, -7d, or ISO 8601. The last sample before it is given too."`
	To     string `default:"now" help:"End, inclusive."`
	Format string `default:"table" enum:"table,csv,json,raw" help:"table, csv, json or raw (PB)."`
}

// Run writes the samples of a PV.
func (c *getCmd) Run(ctx context.Context) error {
	now := time.Now()
	from, err := parseWhen(c.From, now)
	if err != nil {
		return exitError{exitUsage, fmt.Errorf("--from %w", err)}
	}
	to, err := parseWhen(c.To, now)
	if err != nil {
		return exitError{exitUsage, fmt.Errorf("--to %w", err)}
	}
	extension := c.Format
	if c.Format == "table" {
		extension = "json"
	}
	query := url.Values{"pv": {c.PV}, "from": {from.UTC().Format(time.RFC3339Nano)}, "to": {to.UTC().Format(time.RFC3339Nano)}}
	stream, err := c.open(ctx, http.MethodGet, "/retrieval/data/getData."+extension, query, nil)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	if c.Format == "table" {
		err = printSamples(out, stream)
	} else {
		_, err = io.Copy(out, stream)
	}
	if err = errors.Join(err, out.Flush(), stream.Close()); err != nil {
		return fmt.Errorf("read samples of %s (what is above is not all): %w", c.PV, err)
	}
	return nil
}

// parseWhen reads now, a time before now (-90s, -30m, -1h, -7d, -2w) or ISO 8601
// with its offset; a date alone is its midnight in UTC.
func parseWhen(text string, now time.Time) (time.Time, error) {
	if text == "now" {
		return now, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	if ago, ok := strings.CutPrefix(text, "-"); ok {
		if d, err := parseSpan(ago); err == nil {
			return now.Add(-d), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: use now, -30m, -1h, -7d or 2026-11-23T08:00:00Z", text)
}

// parseSpan is time.ParseDuration with days and weeks.
func parseSpan(text string) (time.Duration, error) {
	for unit, length := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if number, ok := strings.CutSuffix(text, unit); ok {
			n, err := strconv.ParseFloat(number, 64)
			if err != nil || !(n >= 0 && n < 36_500) {
				return 0, fmt.Errorf("%q is no number of days", number)
			}
			return time.Duration(n * float64(length)), nil
		}
	}
	return time.ParseDuration(text)
}

// jsonPoint is a sample of getData.json.
type jsonPoint struct {
	Secs     int64             `json:"secs"`
	Nanos    int64             `json:"nanos"`
	Val      json.RawMessage   `json:"val"`
	Severity int32             `json:"severity"`
	Status   int32             `json:"status"`
	Fields   map[string]string `json:"fields"`
}

// printSamples prints getData.json as it comes, a line per sample.
func printSamples(w io.Writer, r io.Reader) error {
	decoder := json.NewDecoder(r)
	if err := enterData(decoder); err != nil {
		return err
	}
	fmt.Fprintf(w, "%-30s  %-24s %3s %6s\n", "TIME", "VALUE", "SEV", "STATUS")
	for decoder.More() {
		var p jsonPoint
		if err := decoder.Decode(&p); err != nil {
			return err
		}
		at := time.Unix(p.Secs, p.Nanos).UTC().Format("2006-01-02T15:04:05.000000000Z")
		fmt.Fprintf(w, "%s  %-24s %3d %6d", at, p.Val, p.Severity, p.Status)
		if len(p.Fields) > 0 {
			fields, err := json.Marshal(p.Fields) // sorted by name
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "  %s", fields)
		}
		fmt.Fprintln(w)
	}
	_, err := io.Copy(io.Discard, io.MultiReader(decoder.Buffered(), r)) // an answer that was cut short shows here
	return err
}

// enterData moves to the first element of the first "data" array.
func enterData(d *json.Decoder) error {
	for depth := 0; ; {
		token, err := d.Token()
		if err != nil {
			return fmt.Errorf("read the server's answer: %w", err)
		}
		switch token {
		case json.Delim('['), json.Delim('{'):
			depth++
		case json.Delim(']'), json.Delim('}'):
			depth--
		case "data":
			if depth != 2 {
				continue
			}
			_, err := d.Token()
			return err
		}
	}
}
