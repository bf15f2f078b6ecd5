package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// verifyCmd looks for everything that is wrong with PB files and changes none.
type verifyCmd struct {
	client
	partitionFiles
	PV     string   `name:"pv" placeholder:"GLOB" help:"Let the running server verify the partitions of these PVs."`
	Ignore []string `placeholder:"KIND,..." help:"Kinds of problems that do not count, as verify names them: name,path for files out of their store."`
	Max    int      `default:"20" placeholder:"N" help:"Problems that are told of one file; all are counted."`
	All    bool     `help:"Tell of sound files too."`
	JSON   bool     `name:"json" help:"Print a JSON object for each file with a problem, and one for all."`
}

// verified is what is told of a file: of the server's files the API's answer.
type verified struct {
	Path     string              `json:"path"`
	PV       schema.PVName       `json:"pv,omitempty"`
	Type     string              `json:"type,omitempty"`
	Year     int                 `json:"year,omitempty"`
	Bytes    int64               `json:"bytes"`
	Samples  int                 `json:"samples"`
	First    string              `json:"first,omitempty"`
	Last     string              `json:"last,omitempty"`
	Counts   map[string]int      `json:"counts"`
	Problems []partition.Problem `json:"problems"`
}

// summary is what is told of all files.
type summary struct {
	Files   int            `json:"files"`
	Unsound int            `json:"unsound"`
	Bytes   int64          `json:"bytes"`
	Samples int            `json:"samples"`
	Counts  map[string]int `json:"counts"`
}

// Run verifies and fails if anything is wrong.
func (c *verifyCmd) Run(ctx context.Context) error {
	if (c.PV != "") == (len(c.Files) > 0) {
		return exitError{exitUsage, errors.New("name PB files or folders, or PVs of a running server with --pv")}
	}
	known := partition.Kinds()
	for _, kind := range c.Ignore {
		if !slices.Contains(known, partition.Kind(kind)) {
			return exitError{exitUsage, fmt.Errorf("--ignore %s: the kinds are %s", kind, problemKinds())}
		}
	}
	out := printTo(os.Stdout)
	all := summary{Counts: map[string]int{}}
	meter := newMeter()
	take := func(v verified) error {
		if v.Path == "" {
			return nil
		}
		c.ignore(&v)
		all.add(v)
		meter.show("%d files, %d samples, %d with problems", all.Files, all.Samples, all.Unsound)
		if len(v.Counts) > 0 || c.All {
			meter.end()
			c.tell(out, v)
		}
		return out.err
	}
	var err error
	if c.PV != "" {
		err = c.ask(ctx, take)
	} else {
		err = each(c.partitionFiles, c.file, func(_ partitionFile, v verified) error { return take(v) })
	}
	meter.end()
	if err == nil && all.Files == 0 && c.PV == "" {
		err = c.none()
	}
	if err == nil {
		c.summarize(out, all)
	}
	if flushed := out.flush(); err == nil {
		err = flushed
	}
	if err == nil && all.Unsound > 0 {
		err = exitError{exitPartial, fmt.Errorf("%d of %d files have problems", all.Unsound, all.Files)}
	}
	return err
}

// file verifies one file.
func (c *verifyCmd) file(f partitionFile) verified {
	if f.what == partition.Remains {
		text := "left by a tool that was interrupted, or set aside: no reader takes it for a partition; look at it and remove it"
		return problemOf(f.path, partition.Leftover, text)
	}
	report, problems, err := partition.Verify(f.path, f.root, c.Max)
	if errors.Is(err, fs.ErrNotExist) {
		return verified{} // moved to another tier meanwhile
	}
	if err != nil {
		return problemOf(f.path, partition.Unreadable, err.Error())
	}
	return verifiedOf(report, problems)
}

func problemOf(path string, kind partition.Kind, text string) verified {
	return verified{Path: path, Counts: map[string]int{string(kind): 1}, Problems: []partition.Problem{{Kind: kind, Text: text}}}
}

func verifiedOf(r partition.Report, problems []partition.Problem) verified {
	v := verified{Path: r.Path, Bytes: r.Size, Samples: r.Samples, Counts: map[string]int{}, Problems: problems}
	if r.HasHeader {
		v.PV, v.Type, v.Year = r.Header.PV, r.Header.Type.String(), r.Header.Year
	}
	if r.Samples > 0 {
		v.First, v.Last = r.First.String(), r.Last.String()
	}
	for kind, n := range r.Problems {
		v.Counts[string(kind)] = n
	}
	return v
}

func (c *verifyCmd) ignore(v *verified) {
	for _, kind := range c.Ignore {
		delete(v.Counts, kind)
	}
	v.Problems = slices.DeleteFunc(v.Problems, func(p partition.Problem) bool { return slices.Contains(c.Ignore, string(p.Kind)) })
}

func (s *summary) add(v verified) {
	s.Files, s.Bytes, s.Samples = s.Files+1, s.Bytes+v.Bytes, s.Samples+v.Samples
	if len(v.Counts) > 0 {
		s.Unsound++
	}
	for kind, n := range v.Counts {
		s.Counts[kind] += n
	}
}

// tell prints a line for each problem, or one JSON object.
func (c *verifyCmd) tell(out *printer, v verified) {
	if c.JSON {
		if v.Problems == nil {
			v.Problems = []partition.Problem{}
		}
		printJSON(out, v)
		return
	}
	if len(v.Counts) == 0 {
		out.printf("%s: sound: %d samples of %s\n", v.Path, v.Samples, cmp.Or(string(v.PV), "no PV"))
	}
	told := 0
	for _, p := range v.Problems {
		told++
		if p.Line == 0 {
			out.printf("%s: %s: %s\n", v.Path, p.Kind, p.Text)
		} else {
			out.printf("%s:%d: byte %d: %s: %s\n", v.Path, p.Line, p.Offset, p.Kind, p.Text)
		}
	}
	if all := total(v.Counts); all > told {
		out.printf("%s: and %d more (--max tells more): %s\n", v.Path, all-told, countsText(v.Counts))
	}
}

func (c *verifyCmd) summarize(out *printer, s summary) {
	if c.JSON {
		printJSON(out, map[string]summary{"summary": s})
		return
	}
	out.printf("%d files, %d samples, %d bytes: ", s.Files, s.Samples, s.Bytes)
	if s.Unsound == 0 {
		out.printf("nothing is wrong\n")
		return
	}
	out.printf("%d problems in %d files (%s)\n", total(s.Counts), s.Unsound, countsText(s.Counts))
}

func printJSON(out *printer, v any) {
	b, err := json.Marshal(v)
	if err != nil && out.err == nil {
		out.err = err
	}
	out.printf("%s\n", b)
}

func total(counts map[string]int) (n int) {
	for _, of := range counts {
		n += of
	}
	return n
}

// countsText is "3 torn, 1 order".
func countsText(counts map[string]int) string {
	var words []string
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%d %s", counts[kind], kind))
	}
	return strings.Join(words, ", ")
}

// problemKinds is the list of kinds for the help.
func problemKinds() string {
	var words []string
	for _, kind := range partition.Kinds() {
		words = append(words, string(kind))
	}
	return strings.Join(words, ", ")
}
