package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// inspectCmd reads PB files without a server and changes nothing.
type inspectCmd struct {
	Files []string `arg:"" type:"path" name:"file" help:"PB files, or folders to look for *.pb in."`
	Lines bool     `help:"Print every sample: time, value, severity, status and fields."`
}

// Run inspects all files and fails if one of them is not sound.
func (c *inspectCmd) Run() error {
	out := bufio.NewWriter(os.Stdout)
	files, unsound, err := c.inspect(out)
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	switch {
	case err != nil:
		return err
	case files == 0:
		return fmt.Errorf("no .pb file in %s", strings.Join(c.Files, ", "))
	case unsound > 0:
		return fmt.Errorf("%d of %d files are not sound", unsound, files)
	}
	return nil
}

func (c *inspectCmd) inspect(out io.Writer) (files, unsound int, err error) {
	for _, root := range c.Files {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return fmt.Errorf("inspect: %w", err)
			}
			if entry.IsDir() || path != root && filepath.Ext(path) != ".pb" {
				return nil
			}
			if files > 0 {
				fmt.Fprintln(out)
			}
			files++
			sound, err := inspectFile(out, path, c.Lines)
			if !sound {
				unsound++
			}
			return err
		})
		if err != nil {
			return files, unsound, err
		}
	}
	return files, unsound, nil
}

// inspectFile prints one file. A problem of the file's contents is printed and
// makes it unsound; only a failure to read or print is an error.
func inspectFile(out io.Writer, path string, lines bool) (sound bool, err error) {
	r := report{out: out, sound: true}
	r.print("%s\n", path)
	tail, err := partition.Check(path)
	if corrupt, ok := errors.AsType[*partition.CorruptError](err); ok {
		r.problem(corrupt.Offset, corrupt.Err)
		return false, r.err
	}
	if err != nil {
		return false, err
	}
	if tail.Length == 0 {
		r.problem(0, fmt.Errorf("no complete header line in %d bytes", tail.Cut))
		return false, r.err
	}
	r.header(tail.Header, tail.Length+tail.Cut)
	if err := r.samples(path, tail.Header, lines); err != nil {
		return false, err
	}
	if tail.Cut > 0 {
		r.print("  sound:    %d bytes with %d samples; the other %d would be cut after a crash\n", tail.Length, tail.Lines, tail.Cut)
		r.sound = false
	}
	return r.sound, r.err
}

// report prints what is found in one file and remembers the first failure to.
type report struct {
	out   io.Writer
	sound bool
	err   error
}

func (r *report) print(format string, args ...any) {
	if r.err == nil {
		_, r.err = fmt.Fprintf(r.out, format, args...)
	}
}

func (r *report) problem(offset int64, err error) {
	r.sound = false
	r.print("  PROBLEM   byte %d: %v\n", offset, err)
}

func (r *report) header(h partition.Header, size int64) {
	r.print("  pv:       %s\n  type:     %v\n  year:     %d\n  bytes:    %d\n", h.PV, h.Type, h.Year, size)
	if h.ElementCount != 0 {
		r.print("  elements: %d\n", h.ElementCount)
	}
	for _, f := range h.Fields {
		r.print("  field:    %s = %q\n", f.Name, f.Val)
	}
}

// samples reads all lines, prints them if asked, and what is wrong with any.
func (r *report) samples(path string, h partition.Header, lines bool) error {
	reader, err := partition.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = reader.Close() }() // was only read
	var first, last schema.Time
	count := 0
	for r.err == nil {
		line, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if corrupt, ok := errors.AsType[*partition.CorruptError](err); ok {
			r.problem(corrupt.Offset, corrupt.Err)
			continue
		}
		if err != nil {
			return err
		}
		if count > 0 && !line.Time.After(last) {
			r.problem(line.Offset, fmt.Errorf("%w: %v after %v", partition.ErrOrder, line.Time, last))
		}
		if count == 0 {
			first = line.Time
		}
		count, last = count+1, line.Time
		r.sample(h, line, lines)
	}
	r.print("  samples:  %d\n", count)
	if count > 0 {
		r.print("  first:    %v\n  last:     %v\n", first, last)
	}
	return nil
}

// sample decodes a line fully, which reading does not need.
func (r *report) sample(h partition.Header, line partition.Line, show bool) {
	s, err := schema.DecodeSample(h.Type, h.Year, line.Event)
	if err != nil {
		r.problem(line.Offset, err)
		return
	}
	if !line.Time.Legal() {
		r.problem(line.Offset, fmt.Errorf("%d nanoseconds", line.Time.Nsec))
	}
	if start := schema.YearStart(h.Year + 1); line.Time.Sec >= start {
		r.problem(line.Offset, fmt.Errorf("%v is not in the header's year", line.Time))
	}
	if !show {
		return
	}
	r.print("  %s  %s  sev %d stat %d", line.Time.Go().Format("2006-01-02T15:04:05.000000000Z"), valueText(s.Value), s.Severity, s.Status)
	for _, f := range s.Fields {
		r.print("  %s=%q", f.Name, f.Val)
	}
	r.print("\n")
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
