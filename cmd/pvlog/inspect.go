package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"pvlog/consumers/partition"
	"pvlog/consumers/retrieval"
	"pvlog/schema"
)

// inspectCmd reads PB files without a server and changes nothing.
type inspectCmd struct {
	partitionFiles
	Lines bool `aliases:"samples" help:"Print every sample: time, value, severity, status and fields."`
	Max   int  `default:"20" placeholder:"N" help:"Problems that are told of one file."`
	JSON  bool `name:"json" help:"Print a JSON object for each file and, with --lines, one for each sample after it."`
}

// Run inspects all files and fails if one of them is not sound.
func (c *inspectCmd) Run() error {
	files, unsound, err := c.inspect(os.Stdout)
	switch {
	case err != nil:
		return err
	case files == 0:
		return c.none()
	case unsound > 0:
		return fmt.Errorf("%d of %d files are not sound", unsound, files)
	}
	return nil
}

func (c *inspectCmd) inspect(w io.Writer) (files, unsound int, err error) {
	out := printTo(w)
	err = c.walk(func(f partitionFile) error {
		if f.what != partition.Partition {
			return nil
		}
		if files > 0 && !c.JSON {
			out.printf("\n")
		}
		files++
		v := inspection{lines: c.Lines}
		if err := v.read(f, c.Max); err != nil {
			return err
		}
		if !v.sound() {
			unsound++
		}
		if c.JSON {
			v.printJSON(out)
		} else {
			v.print(out)
		}
		if c.Lines && v.HasHeader {
			if err := v.samples(out, c.JSON); err != nil {
				return err
			}
		}
		return out.err
	})
	if flushed := out.flush(); err == nil {
		err = flushed
	}
	return files, unsound, err
}

// inspection is one file as it is shown.
type inspection struct {
	partition.Report
	lines    bool
	problems []partition.Problem
	values   values
}

func (v *inspection) read(f partitionFile, limit int) (err error) {
	v.Report, v.problems, err = partition.Verify(f.path, f.root, limit)
	if err == nil && v.HasHeader {
		err = v.each(func(_ partition.Line, s schema.Sample) error {
			v.values.add(s.Value)
			return nil
		})
	}
	return err
}

// sound reports whether nothing is wrong with what the file holds; a file may
// be inspected out of its store.
func (v *inspection) sound() bool {
	return v.Total() == v.Problems[partition.WrongName]+v.Problems[partition.WrongPath]
}

// each gives the samples that can be read and decoded.
func (v *inspection) each(take func(partition.Line, schema.Sample) error) error {
	reader, err := partition.Open(v.Path)
	if err != nil {
		return err
	}
	defer func() { _ = reader.Close() }() // was only read
	for {
		line, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if _, corrupt := errors.AsType[*partition.CorruptError](err); corrupt {
			continue // is among the problems
		}
		if err != nil {
			return err
		}
		s, err := schema.DecodeSample(v.Header.Type, v.Header.Year, line.Event)
		if err != nil {
			continue // too
		}
		if err := take(line, s); err != nil {
			return err
		}
	}
}

func (v *inspection) print(out *printer) {
	out.printf("%s\n", v.Path)
	if h := v.Header; v.HasHeader {
		out.printf("  pv:       %s\n  type:     %v\n  year:     %d\n", h.PV, h.Type, h.Year)
		if h.ElementCount != 0 {
			out.printf("  elements: %d\n", h.ElementCount)
		}
		for _, f := range h.Fields {
			out.printf("  field:    %s = %q\n", f.Name, f.Val)
		}
	}
	out.printf("  bytes:    %d\n", v.Size)
	if v.HasHeader {
		out.printf("  samples:  %d\n", v.Samples)
	}
	if v.Samples > 0 {
		out.printf("  first:    %v\n  last:     %v\n", v.First, v.Last)
		out.printf("  alarms:   %d none, %d minor, %d major, %d invalid\n", v.Severities[0], v.Severities[1], v.Severities[2], v.Severities[3])
		out.printf("  fields:   in %d samples\n  longest:  %d bytes, %d on average\n", v.Changes, v.Longest, v.Size/int64(v.Samples))
		v.values.print(out)
	}
	for _, p := range v.problems {
		word := "PROBLEM "
		if p.Kind == partition.WrongName || p.Kind == partition.WrongPath {
			word = "note    "
		}
		if p.Line == 0 {
			out.printf("  %s  %s: %s\n", word, p.Kind, p.Text)
		} else {
			out.printf("  %s  line %d, byte %d: %s: %s\n", word, p.Line, p.Offset, p.Kind, p.Text)
		}
	}
	if n := v.Total() - len(v.problems); n > 0 {
		out.printf("  and %d problems more (--max tells more)\n", n)
	}
}

// inspectedJSON is a file for programs.
type inspectedJSON struct {
	verified
	Sound      bool              `json:"sound"`
	Elements   int               `json:"elements,omitempty"`
	Fields     map[string]string `json:"fields,omitempty"`
	Severities map[string]int    `json:"severities"`
	Changes    int               `json:"samples_with_fields"`
	Longest    int               `json:"longest_line"`
	Values     *values           `json:"values,omitempty"`
}

func (v *inspection) printJSON(out *printer) {
	if v.problems == nil {
		v.problems = []partition.Problem{}
	}
	o := inspectedJSON{verified: verifiedOf(v.Report, v.problems), Sound: v.sound(), Elements: v.Header.ElementCount, Changes: v.Changes, Longest: v.Longest,
		Severities: map[string]int{"none": v.Severities[0], "minor": v.Severities[1], "major": v.Severities[2], "invalid": v.Severities[3]}}
	if len(v.Header.Fields) > 0 {
		o.Fields = map[string]string{}
		for _, f := range v.Header.Fields {
			o.Fields[f.Name] = f.Val
		}
	}
	if v.values.Count+v.values.NaN > 0 {
		o.Values = &v.values
	}
	printJSON(out, o)
}

// sampleJSON is a sample for programs; numbers that JSON has not are strings.
type sampleJSON struct {
	Time     string          `json:"time"`
	Offset   int64           `json:"offset"`
	Value    json.RawMessage `json:"value"`
	Severity int32           `json:"severity"`
	Status   int32           `json:"status"`
	Fields   []fieldJSON     `json:"fields,omitempty"`
	Changed  bool            `json:"fields_changed,omitempty"`
}

type fieldJSON struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// samples prints every sample.
func (v *inspection) samples(out *printer, asJSON bool) error {
	return v.each(func(line partition.Line, s schema.Sample) error {
		at := time.Unix(s.Time.Sec, int64(s.Time.Nsec)).UTC().Format("2006-01-02T15:04:05.000000000Z")
		if !asJSON {
			out.printf("  %s  %s  sev %d stat %d", at, valueText(s.Value), s.Severity, s.Status)
			for _, f := range s.Fields {
				out.printf("  %s=%q", f.Name, f.Val)
			}
			out.printf("\n")
			return out.err
		}
		event, err := schema.ScanEvent(line.Event)
		if err != nil {
			return err
		}
		value, err := retrieval.AppendJSONValue(nil, v.Header.Type, event)
		if err != nil {
			return err
		}
		o := sampleJSON{Time: at, Offset: line.Offset, Value: value, Severity: s.Severity, Status: s.Status, Changed: s.FieldsChanged}
		for _, f := range s.Fields {
			o.Fields = append(o.Fields, fieldJSON{f.Name, f.Val})
		}
		printJSON(out, o)
		return out.err
	})
}

// valueText is a value for people: strings quoted, bytes as numbers.
func valueText(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%q", v)
	case []string:
		return fmt.Sprintf("%q", v)
	case []byte:
		return fmt.Sprint([]byte(v))
	}
	return fmt.Sprint(v)
}
