package registry

import (
	"context"
	"slices"
	"sync"

	"pvlog/schema"
)

// claims let one command at a time work on a PV's path, in this process; the
// expected sequences of the log do the same between processes. They are taken
// by path, not by name, so that A:B and A-B cannot be archived at once.
type claims struct {
	mu   sync.Mutex
	held map[string]*claim // guarded by mu; by ChunkKey
}

type claim struct {
	command string
	done    chan struct{} // closed on release
}

// take claims all paths in sorted order, so that two commands over many PVs
// cannot wait for each other in a circle. It waits for commands in progress,
// but an archive is refused (not waited for) where another archive is at work;
// those are returned as busy. release gives back what was taken.
func (c *claims) take(ctx context.Context, command string, paths []string) (busy map[string]bool, release func(), err error) {
	paths = slices.Compact(slices.Sorted(slices.Values(paths)))
	mine := &claim{command: command, done: make(chan struct{})}
	var taken []string
	release = func() { c.release(mine, taken) }
	for _, path := range paths {
		ok, err := c.takeOne(ctx, mine, path)
		if err != nil {
			release()
			return nil, nil, err
		}
		if ok {
			taken = append(taken, path)
			continue
		}
		if busy == nil {
			busy = map[string]bool{}
		}
		busy[path] = true
	}
	return busy, release, nil
}

func (c *claims) takeOne(ctx context.Context, mine *claim, path string) (bool, error) {
	for {
		c.mu.Lock()
		other := c.held[path]
		if other == nil {
			c.held[path] = mine
			c.mu.Unlock()
			return true, nil
		}
		c.mu.Unlock()
		if mine.command == commandArchive && other.command == commandArchive {
			return false, nil
		}
		select {
		case <-other.done:
		case <-ctx.Done():
			return false, schema.Errorf(schema.Unavailable, "another command on the same PV is in progress: %w", context.Cause(ctx))
		}
	}
}

func (c *claims) release(mine *claim, paths []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, path := range paths {
		delete(c.held, path)
	}
	close(mine.done)
}
