package streams

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"pvlog/schema"
)

// Free space is kept as Badger keeps it (consumers/registry, space.go): a
// threshold below which samples are not stored any more, so that events, drops
// and Badger can be, and a file that is given up so that a server can start on
// a disk that is full. The threshold is above Badger's.
const (
	reserveBytes     = 64 << 20
	reserveFileBytes = 8 << 20
)

// errNearlyFull is why samples wait although the disk has some room.
var errNearlyFull = errors.New("the log's file system is nearly full: what is left is kept for registry and drops")

// reserve is the space that samples leave on a file system of a size.
func reserve(size int64) int64 { return min(reserveBytes, size/4) }

// roomForSamples says whether samples may be stored.
func (l *Log) roomForSamples() error {
	size, free, err := l.space(l.opt.Dir)
	if err != nil {
		return nil //nolint:nilerr // the server will say what is wrong
	}
	if least := reserve(size); free < least {
		return schema.Errorf(schema.Unavailable, "%w: %s has %s free, samples leave %s", errNearlyFull, l.opt.Dir, bytesText(free), bytesText(least))
	}
	return nil
}

func (l *Log) reservePath() string { return filepath.Join(l.opt.Dir, "reserve") }

// roomToStart gives the reserve up if the server could not start else.
func (l *Log) roomToStart() error {
	_, free, err := l.space(l.opt.Dir)
	if err != nil || free >= restartSpace {
		return err
	}
	if err := os.Remove(l.reservePath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("give up the log's reserve: %w", err)
	}
	return nil
}

// keepReserve makes the reserve if it is missing and there is ample room.
func (l *Log) keepReserve() error {
	if info, err := os.Stat(l.reservePath()); err == nil && info.Size() == reserveFileBytes {
		return nil
	}
	size, free, err := l.space(l.opt.Dir)
	if err != nil || free < reserve(size)+2*reserveFileBytes {
		return err
	}
	// Written, not truncated to length: a hole would reserve nothing.
	if err := os.WriteFile(l.reservePath(), make([]byte, reserveFileBytes), 0o644); err != nil {
		return errors.Join(fmt.Errorf("write the log's reserve: %w", err), os.Remove(l.reservePath()))
	}
	return nil
}
