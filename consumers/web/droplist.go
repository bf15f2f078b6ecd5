package web

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"pvlog/schema"
)

// dropWriter writes a list of drops one by one.
type dropWriter interface {
	add(Drop) error
	end() error
}

// dropForm chooses how the drops are written: by the format that is asked for,
// else by what the client accepts.
func dropForm(format, accept string) (func(http.ResponseWriter) dropWriter, error) {
	if format == "" && strings.HasPrefix(strings.TrimSpace(accept), "text/csv") {
		format = "csv"
	}
	switch format {
	case "", "json":
		return func(w http.ResponseWriter) dropWriter { return dropArray{newArray(w)} }, nil
	case "csv":
		return newDropTable, nil
	}
	return nil, refuse(schema.Invalid, "use json or csv", "format=%.60q is neither", format)
}

// dropArray writes a JSON array.
type dropArray struct{ *array }

func (a dropArray) add(d Drop) error {
	a.array.add(d.json())
	return nil
}

func (a dropArray) end() error {
	a.array.end()
	return nil
}

// dropTable writes CSV (RFC 4180, lines end in CR LF as there).
type dropTable struct {
	buffer *bufio.Writer
	table  *csv.Writer
}

// dropColumns is the first line.
var dropColumns = []string{"pv", "time", "received", "reason", "detail", "value", "severity", "status", "type", "first",
	"registered_type", "drift_past", "drift_future", "generation", "sequence", "index", "logged", "cursor"}

func newDropTable(w http.ResponseWriter) dropWriter {
	w.Header().Set("Content-Type", "text/csv; charset=UTF-8")
	t := &dropTable{buffer: bufio.NewWriterSize(w, arrayBuffer)}
	t.table = csv.NewWriter(t.buffer)
	t.table.UseCRLF = true
	_ = t.table.Write(dropColumns) // errors stick to the writer
	return t
}

func (t *dropTable) add(d Drop) error {
	j := d.json()
	row := []string{j.PV, j.Time, "", j.Reason, j.Detail, valueText(j.Value), strconv.Itoa(int(j.Severity)), strconv.Itoa(int(j.Status)), j.Type,
		"", "", "", "", "", strconv.FormatUint(j.Position.Sequence, 10), strconv.Itoa(j.Position.Index), stampText(j.Position.Time), j.Cursor}
	if e := j.Envelope; e != nil {
		row[2], row[9], row[10] = stampText(e.Received), strconv.FormatBool(e.First), e.Registered
		row[11], row[12], row[13] = plain(e.DriftPast), plain(e.DriftFuture), strconv.FormatUint(e.Generation, 10)
	}
	return t.table.Write(row)
}

func (t *dropTable) end() error {
	t.table.Flush()
	_ = t.buffer.Flush() // a client that went away gets none
	return nil
}

func stampText(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000Z") }

// valueText is a value as text: a string without quotes, an array as JSON; "" if
// there is none.
func valueText(value json.RawMessage) string {
	if string(value) == "null" {
		return ""
	}
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	return string(value)
}
