package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// merge is the merge into one partition.
type merge struct {
	*merging
	target *target
	length int64 // of the file that is sound, below 0: all complete lines
	plan   *partition.Merge
	aside  *partition.Replacement // nil until something is to be written
	placed bool
}

// mergeInto merges the samples of a target. An error that is not of the store is
// this file's alone.
func (m *merging) mergeInto(ctx context.Context, t *target) error {
	one := &merge{merging: m, target: t}
	err := one.run(ctx)
	if one.plan != nil {
		err = errors.Join(err, one.plan.Close())
	}
	if one.aside != nil && !one.placed {
		err = errors.Join(err, one.aside.Discard())
	}
	return err
}

func (o *merge) run(ctx context.Context) error {
	if err := o.a.owning(ctx, o.what, o.measure); err != nil {
		return err
	}
	if err := o.begin(); err != nil {
		return err
	}
	if o.dry {
		err := o.plan.End()
		o.tell()
		return err
	}
	for try := 1; ; try++ {
		if err := o.write(ctx); err != nil {
			return err
		}
		last := try == mergeTries
		err := o.a.owning(ctx, o.what, func(ctx context.Context) error { return o.end(ctx, last) })
		if err != nil || o.placed {
			return err
		}
	}
}

// measure finds how much of the file is sound: what the archive answers for, or
// what it would append behind. It runs in Run's goroutine. Coarser stores are not
// appended to, and keep what stands behind their last good line.
func (o *merge) measure(context.Context) error {
	if o.length = -1; o.target.store.Root != o.a.opt.Store.Root {
		return nil
	}
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	if o.f.file.path == o.target.path {
		o.length = o.f.file.length
		return nil
	}
	tail, err := partition.ReadTail(o.target.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	o.length = tail.Length
	return err
}

// begin plans the merge into what is durable of the file. What comes to it
// meanwhile comes behind that.
func (o *merge) begin() (err error) {
	late := make([]partition.Late, len(o.target.late))
	for k, i := range o.target.late {
		late[k] = partition.Late{Time: o.late[i].Time, Event: o.late[i].Event}
	}
	header := partition.Header{Type: o.info.DBRType, PV: o.pv, Year: late[0].Time.Year()}
	o.plan, err = partition.PlanMerge(o.target.path, header, o.length, late)
	return err
}

// write writes what is decided aside, in the caller's goroutine.
func (o *merge) write(ctx context.Context) error {
	if !o.plan.Changes() {
		return nil
	}
	if o.aside == nil {
		if err := o.room(); err != nil {
			return err
		}
		aside, err := partition.BeginReplacement(o.a.opt.FS, o.target.path)
		if err != nil {
			return err
		}
		o.aside = aside
	}
	if err := o.plan.Write(ctx, o.aside); err != nil {
		return err
	}
	return o.aside.Sync()
}

// end takes in what was appended meanwhile and puts the file in its place. It
// runs in Run's goroutine. Unless it is the last try, more than a little is left
// to the caller's.
func (o *merge) end(ctx context.Context, last bool) error {
	if info, registered := o.a.opt.Registered(o.pv); !registered || info.DBRType != o.info.DBRType {
		return schema.Errorf(schema.Conflict, "PV %s has been deleted or has got another type meanwhile", o.pv)
	}
	if err := o.a.flushPV(o.f); err != nil {
		return err
	}
	length, err := o.lengthNow()
	if err != nil {
		return err
	}
	more := length - o.plan.Length()
	if more > mergeLeft && !last {
		return o.plan.Extend(length)
	}
	if err := o.plan.Extend(length); err != nil {
		return err
	}
	if err := o.plan.End(); err != nil {
		return err
	}
	if o.plan.Changes() {
		if err := o.replace(ctx); err != nil {
			return err
		}
	} else if err := o.a.syncUp(o.target.path, o.target.store.Root, nil); err != nil {
		return err // an earlier process may have written what is there
	}
	o.placed = true
	o.tell()
	return nil
}

// tell gives the outcomes to whoever asked.
func (o *merge) tell() {
	for k, outcome := range o.plan.Outcomes() {
		o.done.Placed[o.target.late[k]].Outcome = outcome
	}
}

// lengthNow is how far the file has grown.
func (o *merge) lengthNow() (int64, error) {
	still, err := o.plan.Still()
	if err != nil {
		return 0, err
	}
	if !still {
		return 0, schema.Errorf(schema.Unavailable, "%s: %s has become another file meanwhile: try again", o.what, o.target.path)
	}
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	if o.f.file.path != o.target.path {
		return o.plan.Length(), nil
	}
	return o.f.file.length, nil
}

// replace puts the file in its place, and makes it the one that is appended to
// if the old one was.
func (o *merge) replace(ctx context.Context) error {
	if o.aside == nil { // all that is new came with what was appended
		aside, err := partition.BeginReplacement(o.a.opt.FS, o.target.path)
		if err != nil {
			return err
		}
		o.aside = aside
	}
	if err := o.plan.Write(ctx, o.aside); err != nil {
		return err
	}
	size := o.aside.Size()
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	o.a.appender.Release(o.target.path)
	err := o.aside.Commit()
	o.placed = true // or gone: there is nothing to discard
	if err != nil && !errors.Is(err, partition.ErrReplaced) {
		return err
	}
	o.done.Files, o.done.Bytes = o.done.Files+1, o.done.Bytes+size
	o.took(size)
	if err != nil {
		return err
	}
	return o.a.syncUp(o.target.path, o.target.store.Root, nil)
}

// took notes what the file holds now. f is locked.
func (o *merge) took(size int64) {
	f, newest := o.f, schema.Time{}
	for k, outcome := range o.plan.Outcomes() {
		if at := o.late[o.target.late[k]].Time; outcome == partition.Added && at.After(newest) {
			newest = at
		}
	}
	if f.file.path == o.target.path {
		f.file.length, f.file.tried = size, false
		f.file.typ, f.file.year = o.info.DBRType, o.late[o.target.late[0]].Time.Year()
		if newest.After(f.file.last) {
			f.file.last = newest
		}
	}
	if f.hasLast && newest.After(f.last) {
		f.last = newest
	}
}

// room refuses a merge that would fill the store.
func (o *merge) room() error {
	free, err := freeBytes(o.target.store.Root)
	if err != nil {
		return err
	}
	if need := o.plan.Size(); free < need+copySpare {
		return fmt.Errorf("the file with the samples needs %d bytes and %s has %d free: %w", need, o.target.store.Root, free, syscall.ENOSPC)
	}
	return nil
}
