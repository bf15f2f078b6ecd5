package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// Unwritten is one sample that is not yet in a file.
type Unwritten struct {
	Type  schema.DBRType
	Year  int
	Event []byte
}

// Tail gives the samples of a PV that are not yet known to be in a file, oldest
// first. Some may be in the file already: whoever reads both takes the tail
// first and then the files, and goes by time.
func (a *Archive) Tail(pv schema.PVName) []Unwritten {
	f := a.known(pv)
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var tail []Unwritten
	for _, p := range f.parts {
		for i := range p.refs {
			if event, err := partition.AppendUnescaped(nil, p.line(i)); err == nil {
				tail = append(tail, Unwritten{Type: p.typ, Year: p.year, Event: event})
			}
		}
	}
	return tail
}

// Status is what the archive has done for a PV since it was started.
type Status struct {
	Stored    uint64 // samples made durable
	Duplicate uint64 // samples that were there already
	Dropped   uint64 // samples in the drop log
	Last      schema.Time
	Path      string // of the newest partition, "" before the first flush
	Bytes     int64  // its durable length
}

// Status tells how a PV fares; false if no sample of it was seen yet.
func (a *Archive) Status(pv schema.PVName) (Status, bool) {
	f := a.known(pv)
	if f == nil {
		return Status{}, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status
	s.Last, s.Path, s.Bytes = f.last, f.file.path, f.file.length
	return s, true
}

// ask is a request to Run's goroutine, which owns the partitions.
type ask struct {
	do   func(context.Context) error
	done chan error
}

// askTime is how long a request waits for Run's goroutine. While the store
// cannot be written it is refused at once: a thousand of them must not hold the
// end of the process.
const askTime = 10 * time.Second

// Trash moves the partitions of a PV into the store's trash folder, after
// what waits for it was written. It is for PVs whose registration is gone, and
// gives the folder they are in now, "" if there was nothing. The error is a
// [schema.Conflict] for a PV that is registered again, [schema.Unavailable] if
// the archive has ended or cannot write now.
func (a *Archive) Trash(ctx context.Context, pv schema.PVName, now time.Time) (string, error) {
	var folder string
	q := ask{done: make(chan error, 1), do: func(ctx context.Context) (err error) {
		if _, registered := a.opt.Registered(pv); registered {
			return schema.Errorf(schema.Conflict, "PV %s has been archived again meanwhile: its data stay", pv)
		}
		if err = a.flush(ctx); err == nil {
			folder, err = a.trash(pv, now)
		}
		return err
	}}
	if fault := a.Health().Fault; fault != nil {
		return "", schema.Errorf(schema.Unavailable, "move the data of %s to the trash: %w", pv, fault)
	}
	patience := time.NewTimer(askTime)
	defer patience.Stop()
	select {
	case a.asks <- q:
		return folder, <-q.done
	case <-a.ended:
		return "", schema.Errorf(schema.Unavailable, "move the data of %s to the trash: the archive has ended", pv)
	case <-patience.C:
		return "", schema.Errorf(schema.Unavailable, "move the data of %s to the trash: the archive is busy", pv)
	case <-ctx.Done():
		return "", fmt.Errorf("move the data of %s to the trash: the archive is busy: %w", pv, ctx.Err())
	}
}

// trash renames files one by one below .trash/TIME/; names and folders stay, so
// moving them back is a rename as well. Each rename is made durable by syncing
// both folders.
func (a *Archive) trash(pv schema.PVName, now time.Time) (string, error) {
	key := schema.ChunkKey(pv)
	root := a.opt.Store.Root
	files, err := partition.List(root, key, a.opt.Store.Granularity)
	if err != nil || len(files) == 0 {
		return "", err
	}
	a.mu.Lock()
	delete(a.pvs, pv)
	a.mu.Unlock()
	bin := filepath.Join(root, ".trash", now.UTC().Format("2006-01-02T15-04-05.000000000Z"))
	for _, file := range files {
		a.appender.Release(file.Path)
		if err := moveTo(root, bin, file.Path); err != nil {
			return bin, fmt.Errorf("move %s to the trash: %w", file.Path, err)
		}
	}
	return bin, nil
}

func moveTo(root, bin, path string) error {
	below, err := filepath.Rel(root, path)
	if err != nil {
		return err
	}
	target := filepath.Join(bin, below)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if err := os.Rename(path, target); err != nil {
		return err
	}
	return errors.Join(syncDir(filepath.Dir(target)), syncDir(filepath.Dir(path)))
}
