package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"pvlog/consumers/archive"
	"pvlog/consumers/partition"
)

// repairCmd takes out of PB files what is wrong with them.
type repairCmd struct {
	client
	partitionFiles
	PV     string `name:"pv" placeholder:"GLOB" help:"Let the running server repair the partitions of these PVs: backups stand beside the files."`
	Future string `placeholder:"GLOB" help:"As --pv; and what lies further in the future than a PV's window, of a wrong clock, is moved to FILE.aside."`
	Backup string `type:"path" placeholder:"DIR" help:"Folder for the files as they were; default: FILE.bak beside each."`
	DryRun bool   `name:"dry-run" help:"Tell what would be done and do nothing."`
	JSON   bool   `name:"json" help:"Print a JSON object for each file that has or had problems."`
}

// repairedFile is what became of a file: of the server's files the API's answer.
type repairedFile struct {
	Path       string         `json:"path"`
	Repaired   bool           `json:"repaired"` // or, of a dry run, would be
	Samples    int            `json:"samples"`  // that could be read
	Sorted     int            `json:"sorted"`
	Duplicates int            `json:"duplicates"`
	Recovered  int            `json:"recovered"`
	SetAside   int            `json:"set_aside"`
	Whole      bool           `json:"whole,omitempty"` // the file became the side file
	Backup     string         `json:"backup,omitempty"`
	Side       string         `json:"side_file,omitempty"`
	HeaderFrom string         `json:"header_from,omitempty"`
	Refused    string         `json:"refused,omitempty"`
	Counts     map[string]int `json:"counts"` // of problems before
	Left       map[string]int `json:"left"`   // of problems that stay
}

// Run repairs and fails if something is left that is wrong.
func (c *repairCmd) Run(ctx context.Context) error {
	if err := c.check(); err != nil {
		return err
	}
	out := printTo(os.Stdout)
	var done repairs
	take := func(r repairedFile) error {
		done.add(r)
		c.tell(out, r)
		return out.err
	}
	err := c.all(ctx, take)
	if err == nil && c.glob() == "" && done.files == 0 {
		err = c.none()
	}
	if err == nil && !c.JSON {
		done.tell(out, c.DryRun)
	}
	if flushed := out.flush(); err == nil {
		err = flushed
	}
	if err == nil && done.unsound > 0 {
		err = exitError{exitPartial, fmt.Errorf("%d of %d files have problems that repair does not solve", done.unsound, done.files)}
	}
	return err
}

// glob names the PVs of a running server, "" if files are named.
func (c *repairCmd) glob() string { return cmp.Or(c.Future, c.PV) }

func (c *repairCmd) check() error {
	if c.PV != "" && c.Future != "" {
		return exitError{exitUsage, errors.New("--future names PVs as --pv does: give one of them")}
	}
	if (c.glob() != "") == (len(c.Files) > 0) {
		return exitError{exitUsage, errors.New("name PB files or folders, or PVs of a running server with --pv or --future")}
	}
	if c.glob() != "" && c.Backup != "" {
		return exitError{exitUsage, errors.New("--backup is for files; the server puts backups beside its files")}
	}
	return nil
}

func (c *repairCmd) all(ctx context.Context, take func(repairedFile) error) error {
	if c.glob() != "" {
		return c.ask(ctx, take)
	}
	locks := storeLocks{}
	defer locks.release()
	return c.walk(func(f partitionFile) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !c.DryRun {
			if err := locks.hold(f.root); err != nil {
				return err
			}
		}
		r, err := c.file(f)
		if err != nil {
			return err
		}
		return take(r)
	})
}

// storeLocks are the stores whose files a repair changes: one that a running
// pvlog writes is left to it (design D16).
type storeLocks map[string]func() error

// hold locks a store until release; "" is none.
func (l storeLocks) hold(root string) error {
	if root == "" || l[root] != nil {
		return nil
	}
	free, err := archive.Lock(root)
	if errors.Is(err, archive.ErrLocked) {
		return fmt.Errorf("%w: a running pvlog owns these files; let it repair them with --pv GLOB, or stop it first", err)
	}
	if err == nil {
		l[root] = free
	}
	return err
}

func (l storeLocks) release() {
	for _, free := range l {
		_ = free() // the end of the process does it as well
	}
}

func (c *repairCmd) file(f partitionFile) (repairedFile, error) {
	if f.what == partition.Remains {
		left := map[string]int{string(partition.Leftover): 1}
		return repairedFile{Path: f.path, Refused: "it is no partition: look at it and remove it", Counts: left, Left: left}, nil
	}
	var r *partition.Repair
	var err error
	if c.DryRun {
		r, err = partition.PlanRepair(f.path, f.root, nil)
	} else {
		r, err = partition.RepairFile(partition.OSFS{}, f.path, f.root, c.Backup, nil)
	}
	if err != nil {
		return repairedFile{}, err
	}
	return repairedOf(r), nil
}

func repairedOf(r *partition.Repair) repairedFile {
	o := repairedFile{Path: r.Path, Repaired: r.Needed(), Samples: r.Before.Samples, Sorted: r.Sorted, Duplicates: r.Duplicates,
		Recovered: r.Recovered, SetAside: r.SetAside, Whole: r.Whole, Backup: r.Backup, Side: r.Side, HeaderFrom: r.HeaderFrom, Refused: r.Refused,
		Counts: map[string]int{}, Left: map[string]int{}}
	for kind, n := range r.Before.Problems {
		o.Counts[string(kind)] = n
	}
	for kind, n := range r.Left() {
		o.Left[string(kind)] = n
	}
	return o
}

func (c *repairCmd) tell(out *printer, r repairedFile) {
	if len(r.Counts) == 0 {
		return
	}
	if c.JSON {
		printJSON(out, r)
		return
	}
	verb := "repaired"
	if c.DryRun {
		verb = "would be repaired"
	}
	switch {
	case r.Refused != "":
		out.printf("%s: NOT repaired (%s): %s\n", r.Path, countsText(r.Counts), r.Refused)
		return
	case !r.Repaired:
		out.printf("%s: nothing to repair in the file; what is wrong stays: %s\n", r.Path, countsText(r.Left))
		return
	case r.Whole && c.DryRun:
		out.printf("%s: would be moved aside as a whole (%s)\n", r.Path, countsText(r.Counts))
		return
	case r.Whole:
		out.printf("%s: moved aside as a whole (%s): %s\n", r.Path, countsText(r.Counts), r.Side)
		return
	}
	out.printf("%s: %s (%s): %d samples", r.Path, verb, countsText(r.Counts), r.Samples)
	for _, n := range []struct {
		count int
		what  string
	}{{r.Sorted, "sorted in"}, {r.Duplicates, "dropped, which stand there already"}, {r.Recovered, "made readable"}, {r.SetAside, "in " + r.Side}} {
		if n.count > 0 {
			out.printf(", %d %s", n.count, n.what)
		}
	}
	if r.HeaderFrom != "" {
		out.printf("; header as that of %s", r.HeaderFrom)
	}
	if r.Backup != "" {
		out.printf("; as it was: %s", r.Backup)
	}
	if len(r.Left) > 0 {
		out.printf("; LEFT: %s", countsText(r.Left))
	}
	out.printf("\n")
}

// repairs counts files.
type repairs struct{ files, repaired, unsound int }

func (s *repairs) add(r repairedFile) {
	s.files++
	if r.Repaired {
		s.repaired++
	}
	// A file may be repaired out of its store.
	if total(r.Left) > r.Left[string(partition.WrongName)]+r.Left[string(partition.WrongPath)] {
		s.unsound++
	}
}

func (s repairs) tell(out *printer, dry bool) {
	would := ""
	if dry {
		would = "would be "
	}
	out.printf("%d files: %d %srepaired, %d with problems that repair does not solve, the others sound\n", s.files, s.repaired, would, s.unsound)
}
