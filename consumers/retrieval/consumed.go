package retrieval

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"pvlog/consumers/partition"
)

// Consumption is what the partitions of all PVs take in all stores, by the
// PV's key. It is shared: read only.
type Consumption struct {
	Bytes map[string]int64 // by schema.TypeInfo.ChunkKey
	At    time.Time        // when the stores were walked
}

// consumption keeps the newest walk, so that however often it is asked for,
// walking takes at most a twentieth of the time.
type consumption struct {
	turn chan struct{} // holds one token; whoever has it may walk

	mu   sync.Mutex
	kept Consumption   // guarded by mu
	took time.Duration // guarded by mu
}

// Bounds of a kept walk.
const (
	walkRest    = 20               // times what the walk took
	walkRestMin = 10 * time.Second // at least
)

func newConsumption() *consumption {
	c := &consumption{turn: make(chan struct{}, 1)}
	c.turn <- struct{}{}
	return c
}

func (c *consumption) newest(now time.Time) (Consumption, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := max(walkRestMin, walkRest*c.took)
	return c.kept, !c.kept.At.IsZero() && now.Sub(c.kept.At) < rest
}

// Consumption tells what PVs take on disk. The stores are walked for it, by one
// caller at a time; an answer may be as old as twenty times what the walk took,
// and at least ten seconds. The error is ctx's or the file system's.
func (r *Retrieval) Consumption(ctx context.Context) (Consumption, error) {
	c := r.consumption
	if kept, fresh := c.newest(time.Now()); fresh {
		return kept, nil
	}
	select {
	case <-c.turn:
		defer func() { c.turn <- struct{}{} }()
	case <-ctx.Done():
		return Consumption{}, ctx.Err()
	}
	if kept, fresh := c.newest(time.Now()); fresh { // walked while this one waited
		return kept, nil
	}
	begin := time.Now()
	walked := Consumption{Bytes: make(map[string]int64)}
	for _, store := range r.stores {
		if err := walk(ctx, store.Root, walked.Bytes); err != nil {
			return Consumption{}, fmt.Errorf("walk store %s: %w", store.Name, err)
		}
	}
	walked.At = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept, c.took = walked, time.Since(begin)
	return walked, nil
}

// walk adds the sizes of the partitions below a root. What is moved meanwhile
// counts where it is met, and folders that begin with a dot are no PV's.
func walk(ctx context.Context, root string, bytes map[string]int64) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case !entry.Type().IsRegular() || !strings.HasSuffix(entry.Name(), ".pb"):
			return nil
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if key, ok := keyOf(root, path); ok {
			bytes[key] += info.Size()
		}
		return nil
	})
}

// keyOf is the chunk key of a partition's path: what stands before the time.
func keyOf(root, path string) (string, bool) {
	below, err := filepath.Rel(root, path)
	end := strings.LastIndexByte(below, ':')
	if err != nil || end < 0 {
		return "", false
	}
	return filepath.ToSlash(below[:end+1]), true
}

// Partitions are the files of a PV in one of the stores, oldest first.
func (s Store) Partitions(key string) ([]partition.File, error) {
	return partition.List(s.Root, key, s.Granularity)
}
