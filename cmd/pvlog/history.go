package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
)

type historyCmd struct {
	client
	PV     string `arg:"" name:"pv" help:"Name of a PV, registered or not, or of an alias."`
	Format string `default:"table" enum:"table,json" help:"table or json (an event a line)."`
}

// event is one event of a PV's history.
type event struct {
	Seq      uint64    `json:"seq"`
	Time     time.Time `json:"time"`
	Summary  string    `json:"summary"`
	Actor    string    `json:"actor"`
	Source   string    `json:"source"`
	Reason   string    `json:"reason"`
	ChangeID string    `json:"change_id"`
	Undoes   uint64    `json:"undoes"`
}

// Run prints what happened to a PV, oldest first.
func (c *historyCmd) Run(ctx context.Context) error {
	raw, err := c.pages(ctx, "/api/v1/pvs/"+url.PathEscape(c.PV)+"/history", url.Values{}, "events")
	if err != nil {
		return err
	}
	if c.Format == "json" {
		return printLines(os.Stdout, raw)
	}
	events, err := decodeAll[event](raw)
	if err != nil {
		return err
	}
	return printHistory(os.Stdout, width(os.Stdout), events)
}

// pages reads all pages of a list.
func (c client) pages(ctx context.Context, path string, query url.Values, name string) ([]json.RawMessage, error) {
	var all []json.RawMessage
	for {
		body, err := c.all(ctx, http.MethodGet, path, query, nil)
		if err != nil {
			return nil, err
		}
		var page map[string]json.RawMessage
		var items []json.RawMessage
		if err := json.Unmarshal(body, &page); err != nil {
			return nil, fmt.Errorf("read the server's answer: %w", err)
		}
		if err := json.Unmarshal(page[name], &items); err != nil {
			return nil, fmt.Errorf("read the server's answer: %w", err)
		}
		all = append(all, items...)
		if page["next"] == nil {
			return all, nil
		}
		var next string
		if err := json.Unmarshal(page["next"], &next); err != nil {
			return nil, fmt.Errorf("read the server's answer: %w", err)
		}
		query.Set("after", next)
	}
}

func decodeAll[T any](raw []json.RawMessage) ([]T, error) {
	items := make([]T, len(raw))
	for i, text := range raw {
		if err := json.Unmarshal(text, &items[i]); err != nil {
			return nil, fmt.Errorf("read the server's answer: %w", err)
		}
	}
	return items, nil
}

// printLines prints JSON documents, one a line.
func printLines(w io.Writer, raw []json.RawMessage) error {
	for _, text := range raw {
		if _, err := fmt.Fprintf(w, "%s\n", text); err != nil {
			return err
		}
	}
	return nil
}

// width is how many columns a terminal has, 0 for anything else.
func width(out *os.File) int {
	if !terminal(out) {
		return 0
	}
	columns, _, err := term.GetSize(int(out.Fd()))
	if err != nil {
		return 80
	}
	return columns
}

// second is a time for people, in UTC.
func second(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// printHistory prints a line per event where they fit or nobody looks, else a
// paragraph per event.
func printHistory(w io.Writer, columns int, events []event) error {
	var text strings.Builder
	rows := make([][]string, len(events))
	for i, e := range events {
		rows[i] = []string{second(e.Time), strconv.FormatUint(e.Seq, 10), e.what(), e.Actor, e.Source, e.ChangeID, e.Reason}
	}
	if err := printTable(&text, "TIME\tSEQ\tWHAT\tWHO\tFROM\tCHANGE\tWHY", rows); err != nil {
		return err
	}
	if columns == 0 || widest(text.String()) <= columns {
		_, err := io.WriteString(w, text.String())
		return err
	}
	return printEvents(w, columns, events)
}

// printEvents prints a paragraph per event.
func printEvents(w io.Writer, columns int, events []event) error {
	digits := 1
	for _, e := range events {
		digits = max(digits, len(strconv.FormatUint(e.Seq, 10)))
	}
	for _, e := range events {
		head := fmt.Sprintf("%s  %*d  ", second(e.Time), digits, e.Seq)
		about := []string{e.what(), e.by()}
		if e.Reason != "" {
			about = append(about, "because: "+e.Reason)
		}
		for i, text := range about {
			for j, line := range wrapped(cell(text), columns-len(head)) {
				if i+j > 0 {
					head = strings.Repeat(" ", len(head))
				}
				if _, err := fmt.Fprintf(w, "%s%s\n", head, line); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (e event) what() string {
	if e.Undoes == 0 {
		return e.Summary
	}
	return fmt.Sprintf("%s (takes back %d)", e.Summary, e.Undoes)
}

func (e event) by() string {
	text := e.Actor
	if !strings.HasPrefix(text, "claimed by ") {
		text = "by " + text
	}
	if e.Source != "" {
		text += " from " + e.Source
	}
	if e.ChangeID != "" {
		text += ", change " + e.ChangeID
	}
	return text
}

// printTable prints rows of cells in aligned columns.
func printTable(w io.Writer, header string, rows [][]string) error {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, header)
	for _, row := range rows {
		for i := range row {
			row[i] = cell(row[i])
		}
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, trimmed(text.String()))
	return err
}

func widest(text string) int {
	most := 0
	for line := range strings.Lines(text) {
		most = max(most, len([]rune(strings.TrimRight(line, " \n"))))
	}
	return most
}

// trimmed takes the blanks off the ends of lines.
func trimmed(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

// wrapped breaks text at blanks into lines of at most columns; a longer word
// is a line of its own.
func wrapped(text string, columns int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len([]rune(line))+1+len([]rune(word)) > columns {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(lines, line)
}
