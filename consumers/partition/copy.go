package partition

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"pvlog/schema"
)

// Copy is a partition as that of another PV: a header that names it and says
// the same otherwise, and the lines byte for byte. It holds the sound part of
// the file as it was when the copy was planned; what is appended later is not
// in it.
type Copy struct {
	From   string // path of the file
	header []byte
	body   int64 // offset of the first line in From
	end    int64 // offset behind the last sound line
}

// PlanCopy reads what a copy of a partition of pv under the name as needs. A
// file without a complete header gives a copy of size 0, which nobody needs to
// write; one of another PV, or whose first line is no header, is an error.
func PlanCopy(path string, pv, as schema.PVName) (c Copy, err error) {
	tail, err := ReadTail(path)
	if err != nil {
		return c, fmt.Errorf("read the partition to copy: %w", err)
	}
	c.From = path
	if tail.Length == 0 {
		return c, nil
	}
	if tail.Header.PV != pv {
		return c, fmt.Errorf("partition %s is of PV %s, not of %s: move it away", path, tail.Header.PV, pv)
	}
	p, err := openFile(path)
	if err != nil {
		return c, err
	}
	header := tail.Header
	header.PV = as
	c.header, c.body, c.end = AppendHeader(nil, header), p.body, tail.Length
	return c, p.close()
}

// Size is the bytes of the copy.
func (c Copy) Size() int64 { return int64(len(c.header)) + c.end - c.body }

// copyChunk is how much of a file is in memory while it is copied.
const copyChunk = 1 << 20

// Write writes the copy to a new file and returns when it is durable but for
// its name: the folder is synced by the caller. What an error leaves at the
// path is the caller's to remove.
func (c Copy) Write(ctx context.Context, fsys FS, path string) error {
	f, err := fsys.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return fmt.Errorf("make a copy of partition %s: %w", c.From, err)
	}
	offset := int64(0)
	err = c.each(ctx, func(b []byte) error {
		n, err := f.WriteAt(b, offset)
		offset += int64(n)
		return err
	})
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("copy partition %s to %s: %w", c.From, path, err)
	}
	return nil
}

// BeginsWith reports whether a file holds nothing but the beginning of the
// copy, or all of it: what an interrupted copy left behind.
func (c Copy) BeginsWith(ctx context.Context, path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("compare a partition with its copy: %w", err)
	}
	defer f.Close() //nolint:errcheck // was only read
	info, err := f.Stat()
	if err != nil || info.Size() > c.Size() {
		return false, err
	}
	there := make([]byte, copyChunk)
	err = c.each(ctx, func(b []byte) error {
		n, err := io.ReadFull(f, there[:len(b)])
		switch {
		case !bytes.Equal(there[:n], b[:n]):
			return errDiffers
		case errors.Is(err, io.ErrUnexpectedEOF):
			return io.EOF
		}
		return err
	})
	switch {
	case errors.Is(err, errDiffers):
		return false, nil
	case errors.Is(err, io.EOF):
		return true, nil
	}
	return err == nil, err
}

var errDiffers = errors.New("the files differ")

// each gives the bytes of the copy in order, in pieces of at most copyChunk.
func (c Copy) each(ctx context.Context, take func([]byte) error) error {
	if err := take(c.header); err != nil {
		return err
	}
	f, err := os.Open(c.From)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // was only read
	buffer := make([]byte, min(copyChunk, c.end-c.body))
	for at := c.body; at < c.end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.ReadAt(buffer[:min(int64(len(buffer)), c.end-at)], at)
		if n == 0 {
			return fmt.Errorf("%w: the file became shorter", errors.Join(err, io.ErrUnexpectedEOF))
		}
		if err := take(buffer[:n]); err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}
