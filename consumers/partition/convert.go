package partition

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"pvlog/schema"
)

// Loss is a sample whose value a conversion cannot keep.
type Loss struct {
	Path string
	Line int // counted from 1, which is the header
	Time schema.Time
	Err  error // shows the value; wraps [schema.ErrLoss]
}

// Error says where and what.
func (l *Loss) Error() string {
	return fmt.Sprintf("%s line %d (%v): %v", l.Path, l.Line, l.Time, l.Err)
}

// Unwrap gives what is lost.
func (l *Loss) Unwrap() error { return l.Err }

// Converted is what [Convert] made of a partition.
type Converted struct {
	From    schema.DBRType
	Samples int
	Lost    int   // of them with another value than before
	Bytes   int64 // of the new file
	Read    int64 // of the file that was read: what is appended later is not in the new one
}

// conversionChunk is how much is written at once.
const conversionChunk = 1 << 20

// Convert writes the samples of a partition of pv to a new file at target, as
// values of another type, and returns when it is durable but for its name. With
// target "" nothing is written. Every loss is told to lost, if that is not nil;
// without lossy the first one ends a conversion that writes, with a *[Loss]. A
// line that does not parse ends it too: the file must be repaired before. A file
// of that type already, and one without a complete header, give From or nothing
// and no new file. What an error leaves at target is the caller's to remove.
func Convert(ctx context.Context, fsys FS, path, target string, pv schema.PVName, c schema.Conversion, lost func(*Loss)) (done Converted, err error) {
	p, err := openFile(path)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if p.body == 0 {
		return done, nil
	}
	if p.header.PV != pv {
		return done, schema.Errorf(schema.Conflict, "partition %s is of PV %s, not of %s: move it away", path, p.header.PV, pv)
	}
	done.From = p.header.Type
	if done.From == c.To {
		return done, nil
	}
	if c.From = p.header.Type; c.Check() != nil {
		return done, c.Check()
	}
	header := p.header
	header.Type = c.To
	w := converting{p: p, c: c, lost: lost, done: done, buffer: AppendHeader(nil, header)}
	if target == "" {
		err = w.lines(ctx)
		return w.done, err
	}
	if w.file, err = fsys.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode); err != nil {
		return done, fmt.Errorf("convert partition %s: %w", path, err)
	}
	if err = w.lines(ctx); err == nil {
		err = w.file.Sync()
	}
	if err = errors.Join(err, w.file.Close()); err != nil {
		return w.done, fmt.Errorf("convert partition %s: %w", path, err)
	}
	return w.done, nil
}

// converting is one file on its way.
type converting struct {
	p      *partitionFile
	c      schema.Conversion
	lost   func(*Loss)
	file   Handle // nil: nothing is written
	buffer []byte // not yet written
	event  []byte
	done   Converted
}

// lines converts all of the file's lines.
func (w *converting) lines(ctx context.Context) error {
	blank := false // the line before was healed: an empty one may follow
	for number := 2; ; number++ {
		line, healed, err := w.p.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if corrupt, bad := errors.AsType[*CorruptError](err); bad {
			if blank && w.p.scan.offset() == corrupt.Offset+1 {
				blank = false
				continue
			}
			return schema.Errorf(schema.Conflict, "line %d cannot be read, repair the file first (pvlog repair): %w", number, err)
		}
		if err != nil {
			return err
		}
		blank = healed
		if err := w.line(line, number); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	w.done.Read = w.p.scan.offset()
	return w.flush()
}

// line converts one sample.
func (w *converting) line(line Line, number int) error {
	event, changed, err := w.c.Append(w.event[:0], line.Event)
	if errors.Is(err, schema.ErrLoss) {
		loss := &Loss{Path: w.p.path, Line: number, Time: line.Time, Err: err}
		if w.lost != nil {
			w.lost(loss)
		}
		if w.file != nil {
			return loss
		}
		w.done.Samples, w.done.Lost = w.done.Samples+1, w.done.Lost+1
		return nil
	}
	if err != nil {
		return schema.Errorf(schema.Conflict, "line %d of %s is no sample of its type, repair the file first (pvlog repair): %w", number, w.p.path, err)
	}
	w.done.Samples++
	if changed {
		w.done.Lost++
	}
	w.event = event
	w.buffer = AppendLine(w.buffer, event)
	if len(w.buffer) < conversionChunk {
		return nil
	}
	return w.flush()
}

// flush writes what is buffered, or only counts it.
func (w *converting) flush() error {
	if w.file != nil {
		if _, err := w.file.WriteAt(w.buffer, w.done.Bytes); err != nil {
			return err
		}
	}
	w.done.Bytes += int64(len(w.buffer))
	w.buffer = w.buffer[:0]
	return nil
}
