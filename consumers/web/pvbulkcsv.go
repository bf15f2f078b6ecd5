package web

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"pvlog/schema"
)

// csvColumns are the columns of a list of PVs beside pv, with the member of an
// entry that each belongs to. The Appliance's words are understood as well.
var csvColumns = map[string]string{
	"method": "method", "samplingmethod": "method",
	"period": "period", "samplingperiod": "period",
	"policy":         "policy",
	"controlling_pv": "controlling_pv", "controllingpv": "controlling_pv",
	"fields": "fields", "archivefields": "fields",
	"deadband":         "deadband",
	"drift_past":       "drift",
	"drift_future":     "drift",
	"rate_events":      "rate",
	"rate_bytes":       "rate",
	"alias":            "alias",
	"time_limit":       "time_limit",
	"skip_alias_check": "skip_alias_check",
}

// columnsOf are the columns that a command takes beside pv.
func columnsOf(k bulkKind) []string {
	var names []string
	for column, member := range csvColumns {
		if slices.Contains(k.entry, member) {
			names = append(names, column)
		}
	}
	slices.Sort(names)
	return names
}

// readCSV reads a list of PVs whose first line names the columns. An empty
// cell states nothing; lines that begin with # are comments.
func (b *bulk) readCSV(body []byte) error {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(body, []byte("\ufeff"))))
	r.Comment, r.TrimLeadingSpace = '#', true
	header, err := r.Read()
	if err != nil {
		return wrongCSV(err)
	}
	if err := b.checkHeader(header); err != nil {
		return err
	}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return wrongCSV(err)
		}
		var e bulkEntry
		for i, cell := range record {
			if err := e.column(header[i], cell); err != nil {
				line, _ := r.FieldPos(i)
				return wrongEntry(fmt.Sprintf("line %d", line), err)
			}
		}
		b.entries = append(b.entries, e)
	}
}

// checkHeader brings the names of the columns into their one form.
func (b *bulk) checkHeader(header []string) error {
	columns := append([]string{"pv"}, columnsOf(b.kind)...)
	hint := "the first line names the columns: " + strings.Join(columns, ", ")
	for i, name := range header {
		header[i] = strings.ToLower(strings.TrimSpace(name))
		if !slices.Contains(columns, header[i]) {
			return refuse(schema.Invalid, hint, "the column %q is not known to %s", name, b.kind.command)
		}
		if slices.Index(header, header[i]) < i {
			return refuse(schema.Invalid, hint, "the column %q stands there twice", name)
		}
	}
	if !slices.Contains(header, "pv") {
		return refuse(schema.Invalid, hint, "the list has no column pv")
	}
	return nil
}

func wrongCSV(err error) error {
	return refuse(schema.Invalid, "the first line names the columns, such as pv,samplingmethod,samplingperiod,policy", "the body is not the CSV that is expected: %v", err)
}

// column takes the text of a cell or of a parameter.
func (e *bulkEntry) column(name, text string) error {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil
	}
	var err error
	switch name {
	case "pv":
		e.PV = text
	case "method", "samplingmethod":
		e.Method = some(text)
	case "period", "samplingperiod":
		e.Period, err = number(name, text)
	case "policy":
		e.Policy = some(text)
	case "controlling_pv", "controllingpv":
		e.ControllingPV = some(text)
	case "fields", "archivefields":
		e.Fields = some(strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" ;|,", r) }))
	case "deadband":
		e.Deadband, err = number(name, text)
	case "drift_past":
		e.Drift.given = true
		e.Drift.value.Past, err = number(name, text)
	case "drift_future":
		e.Drift.given = true
		e.Drift.value.Future, err = number(name, text)
	case "rate_events":
		e.Rate.given = true
		e.Rate.value.Events, err = number(name, text)
	case "rate_bytes":
		e.Rate.given = true
		e.Rate.value.Bytes, err = number(name, text)
	case "alias":
		e.Alias = text
	case "time_limit":
		e.TimeLimit, err = number(name, text)
	case "skip_alias_check":
		e.SkipAliasCheck.given = true
		err = flag(name, text, &e.SkipAliasCheck.value)
	}
	return err
}

func number(name, text string) (optional[float64], error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return optional[float64]{}, refuse(schema.Invalid, "write it as 1.5", "%s: %q is not a number", name, text)
	}
	return some(v), nil
}
