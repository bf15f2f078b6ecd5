package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// AdoptMode is how a file of another archive gets into a store.
type AdoptMode string

// The modes.
const (
	AdoptCopy    AdoptMode = "copy"     // the other archive keeps its file
	AdoptLink    AdoptMode = "link"     // both have one file: nobody may append to it in the other place
	AdoptMove    AdoptMode = "move"     // the other archive loses it
	AdoptInPlace AdoptMode = "in-place" // it is in a store already
)

// AdoptOptions say how files are adopted.
type AdoptOptions struct {
	Mode   AdoptMode
	Store  string // name of the store; "": the one of the files' granularity
	DryRun bool
}

// What became, or with DryRun would become, of a file.
const (
	AdoptDone    = "adopted"
	AdoptThere   = "there"    // the store has the same file
	AdoptDiffers = "differs"  // the store has another file in its place: see Late
	AdoptNoStore = "no_store" // no store has its granularity
	AdoptRefused = "refused"
)

// Adopted is one file.
type Adopted struct {
	Path        string
	Outcome     string
	Why         string // of a refusal, and of what differs
	Granularity partition.Granularity
	Store       string // name, "" if there is none
	Target      string // its place in the store
	Report      partition.Report
	Problems    []partition.Problem
}

// adoptProblems is how many problems of a file are told.
const adoptProblems = 20

// Adopt takes partition files of another archive, all of one PV, into the stores
// of their granularity. A file that is in its place already with the same bytes
// is left, one with other bytes never replaced nor merged: it is told. What is
// not sound but a partition of the PV is adopted as it is, its problems told. It
// can be repeated: what is done then is there.
//
// The PV may be registered or not. The error is a [schema.Conflict] while its
// files are copied or moved and [schema.Unavailable] if the archive has ended or
// cannot write; what was adopted until then stays.
func (a *Archive) Adopt(ctx context.Context, pv schema.PVName, paths []string, o AdoptOptions) ([]Adopted, error) {
	release, err := a.hold(pv)
	if err != nil {
		return nil, err
	}
	defer release()
	d := adoption{a: a, pv: pv, o: o, what: fmt.Sprintf("adopt files of %s", pv), minutes: minutesOf(paths)}
	var all []Adopted
	for _, path := range paths {
		one, err := d.file(ctx, path)
		if err != nil {
			return all, d.fault(err)
		}
		all = append(all, one)
	}
	return all, nil
}

// adoption is one call of Adopt.
type adoption struct {
	a       *Archive
	pv      schema.PVName
	o       AdoptOptions
	what    string
	minutes partition.Granularity // of names with minutes
}

// minutesOf tells apart granularities whose names look alike: the longest on
// whose beginnings all names fall.
func minutesOf(paths []string) partition.Granularity {
	g := partition.Partition30Min
	for _, path := range paths {
		bare := strings.TrimSuffix(path, ".pb")
		if len(bare) < 2 {
			continue
		}
		switch bare[len(bare)-2:] {
		case "00", "30":
		case "15", "45":
			if g == partition.Partition30Min {
				g = partition.Partition15Min
			}
		default:
			g = partition.Partition5Min
		}
	}
	return g
}

// file adopts one file. What is wrong with it is told, not an error.
func (d *adoption) file(ctx context.Context, path string) (Adopted, error) {
	one := Adopted{Path: path}
	if err := ctx.Err(); err != nil {
		return one, err
	}
	if why := d.examine(&one); why != "" {
		one.Outcome, one.Why = AdoptRefused, why
		return one, nil
	}
	store, ok := d.store(one.Granularity)
	if !ok {
		one.Outcome, one.Why = AdoptNoStore, fmt.Sprintf("no store has the granularity %s", one.Granularity)
		return one, nil
	}
	if store.Granularity != one.Granularity {
		one.Outcome, one.Why = AdoptRefused, fmt.Sprintf("the store %s has the granularity %s, the file %s", store.Name, store.Granularity, one.Granularity)
		return one, nil
	}
	_, start, _ := partition.SuffixOf(path)
	one.Store, one.Target = store.Name, partition.Path(store.Root, schema.ChunkKey(d.pv), store.Granularity, start)
	if d.o.Mode == AdoptLink && store.Root == d.a.opt.Store.Root && store.Granularity.Next(start) > time.Now().Unix() {
		one.Outcome, one.Why = AdoptRefused, "samples may still be appended to it, here and there: copy or move it"
		return one, nil
	}
	there, err := d.compare(&one)
	if err != nil || there || d.o.DryRun {
		return one, err
	}
	return one, d.put(ctx, store, &one)
}

// examine reads the file and gives why it cannot be adopted.
func (d *adoption) examine(one *Adopted) string {
	info, err := os.Stat(one.Path)
	switch {
	case err != nil:
		return err.Error()
	case !info.Mode().IsRegular():
		return "it is no file"
	case !filepath.IsAbs(one.Path):
		return "its path is not absolute"
	}
	one.Report, one.Problems, err = partition.Verify(one.Path, "", adoptProblems)
	if err != nil {
		return err.Error()
	}
	for _, kind := range []partition.Kind{partition.Empty, partition.NoHeader, partition.WrongName, partition.WrongPath, partition.WrongYear, partition.Joined} {
		if one.Report.Problems[kind] == 0 {
			continue
		}
		for _, p := range one.Problems {
			if p.Kind == kind {
				return p.Text
			}
		}
		return string(kind)
	}
	stated, err := schema.ParsePVName(string(one.Report.Header.PV))
	if err != nil || stated != d.pv {
		return fmt.Sprintf("it is of the PV %s", one.Report.Header.PV)
	}
	if one.Report.Header.PV != d.pv {
		return fmt.Sprintf("its header names the PV %s, and files of %s must name that", one.Report.Header.PV, d.pv)
	}
	one.Granularity, _, _ = partition.SuffixOf(one.Path)
	if one.Granularity == partition.Partition30Min {
		one.Granularity = d.minutes
	}
	return ""
}

// store is the one that a granularity goes to.
func (d *adoption) store(g partition.Granularity) (Store, bool) {
	for _, s := range d.a.stores {
		if d.o.Store == s.Name || d.o.Store == "" && s.Granularity == g {
			return s, true
		}
	}
	return Store{}, false
}

// compare looks at what is in the file's place and reports whether anything is.
func (d *adoption) compare(one *Adopted) (bool, error) {
	info, err := os.Stat(one.Target)
	if errors.Is(err, fs.ErrNotExist) {
		one.Outcome = AdoptDone // or will be
		if d.o.Mode == AdoptInPlace {
			one.Outcome, one.Why = AdoptRefused, "its place in the store is "+one.Target
			return true, nil
		}
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the place of %s: %w", one.Path, err)
	}
	mine, err := os.Stat(one.Path)
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", one.Path, err)
	}
	same := os.SameFile(info, mine)
	if !same {
		if same, err = partition.SameContent(one.Path, one.Target); err != nil {
			return false, err
		}
	}
	if same {
		one.Outcome = AdoptThere
		if d.o.Mode == AdoptMove && !d.o.DryRun && !os.SameFile(info, mine) {
			return true, d.gone(one)
		}
		return true, nil
	}
	one.Outcome, one.Why = AdoptDiffers, fmt.Sprintf("the store has a file of %d bytes there, this one has %d", info.Size(), one.Report.Size)
	return true, nil
}

// gone removes a file that was moved by copying, whose copy is durable.
func (d *adoption) gone(one *Adopted) error {
	if err := os.Remove(one.Path); err != nil {
		one.Why = fmt.Sprintf("it is in the store, and could not be removed where it was: %v", err)
	}
	return nil
}

// put puts the file in its place: durable when it returns.
func (d *adoption) put(ctx context.Context, store Store, one *Adopted) error {
	var aside *partition.Replacement
	if d.o.Mode == AdoptCopy || d.o.Mode == AdoptMove {
		var err error
		if aside, err = d.aside(ctx, store, one); err != nil {
			return err
		}
	}
	asked := false
	err := d.a.owning(ctx, d.what, func(context.Context) error {
		asked = true
		return d.place(store, one, aside)
	})
	if !asked && aside != nil {
		err = errors.Join(err, aside.Discard())
	}
	return err
}

// aside copies the file beside its place.
func (d *adoption) aside(ctx context.Context, store Store, one *Adopted) (*partition.Replacement, error) {
	free, err := freeBytes(store.Root)
	if err != nil {
		return nil, err
	}
	if free < one.Report.Size+copySpare {
		return nil, fmt.Errorf("%s needs %d bytes and the store %s has %d free: %w", one.Path, one.Report.Size, store.Name, free, syscall.ENOSPC)
	}
	aside, err := partition.BeginReplacement(d.a.opt.FS, one.Target)
	if err != nil {
		return nil, err
	}
	if err := partition.CopyTo(ctx, aside, one.Path); err != nil {
		return nil, errors.Join(err, aside.Discard())
	}
	if aside.Size() != one.Report.Size {
		err := schema.Errorf(schema.Conflict, "%s: %s was written to meanwhile: stop the archive that writes it", d.what, one.Path)
		return nil, errors.Join(err, aside.Discard())
	}
	return aside, nil
}

// place gives the file its name. It runs in Run's goroutine: nobody appends to
// the PV's files meanwhile.
func (d *adoption) place(store Store, one *Adopted, aside *partition.Replacement) (err error) {
	discard := func(err error) error {
		if aside != nil {
			err = errors.Join(err, aside.Discard())
		}
		return err
	}
	if err := d.a.checkStore(); err != nil {
		return discard(err)
	}
	if f := d.a.known(d.pv); f != nil {
		if err := d.a.flushPV(f); err != nil {
			return discard(err)
		}
		defer func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.reread()
		}()
		d.a.appender.Release(one.Target)
	}
	if _, err := os.Lstat(one.Target); err == nil { // begun by the archive itself
		one.Outcome, one.Why = AdoptDiffers, "the store has begun a file there meanwhile"
		return discard(nil)
	}
	d.a.lister.Forget()
	if aside != nil {
		if err := aside.Commit(); err != nil {
			return err
		}
		if d.o.Mode == AdoptMove {
			return d.gone(one)
		}
		return nil
	}
	dirs, err := makeFolder(filepath.Dir(one.Target), store.Root)
	if err != nil {
		return err
	}
	if err := os.Link(one.Path, one.Target); err != nil {
		if errors.Is(err, syscall.EXDEV) || errors.Is(err, syscall.EPERM) {
			return schema.Errorf(schema.Conflict, "%s: %s and the store cannot share a file: use copy: %w", d.what, one.Path, err)
		}
		return err
	}
	return errors.Join(partition.SyncPath(d.a.opt.FS, one.Target), syncDirs(append(dirs, filepath.Dir(one.Target))))
}

// fault words a failure for whoever asked.
func (d *adoption) fault(err error) error {
	return worded(d.what, "", err)
}

// LateOf gives the samples of a file, at most limit at once, for Merge.
func LateOf(ctx context.Context, path string, limit int, take func([]Late) error) (err error) {
	reader, err := partition.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	var late []Late
	for {
		line, err := reader.Next()
		if _, corrupt := errors.AsType[*partition.CorruptError](err); corrupt {
			continue // was told by Adopt
		}
		if err != nil || len(late) == limit {
			if taken := take(late); taken != nil || err != nil {
				return errors.Join(taken, ended(err))
			}
			late = late[:0]
		}
		late = append(late, Late{Type: reader.Header().Type, Time: line.Time, Event: append([]byte(nil), line.Event...)})
	}
}

// ended is nil for the end of a file.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
