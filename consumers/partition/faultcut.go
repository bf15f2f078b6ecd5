package partition

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
)

// written is what became of a file's bytes.
type written struct {
	durable []byte   // what would be there after a power cut
	pending []change // since then, oldest first
}

// change is a write, or a cut to a length.
type change struct {
	offset int64
	data   []byte
	cut    bool
	lost   bool // a sync failed while it was dirty: no later one makes it durable
}

// apply makes the change in the bytes of a file.
func (c change) apply(b []byte) []byte {
	end := c.offset + int64(len(c.data))
	if int64(len(b)) < end {
		b = append(b, make([]byte, end-int64(len(b)))...)
	}
	copy(b[c.offset:], c.data)
	if c.cut {
		b = b[:c.offset]
	}
	return b
}

// change notes a change of a file before it is made.
func (f *FaultFS) change(path string, c change) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.files[path]
	if w == nil {
		b, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("keep what %s was: %w", path, err)
		}
		w = &written{durable: b}
		f.files[path] = w
	}
	w.pending = append(w.pending, c)
	return nil
}

// synced notes the end of a sync.
func (w *written) synced(ok bool) {
	if !ok {
		for i := range w.pending {
			w.pending[i].lost = true
		}
		return
	}
	for _, c := range w.pending {
		if !c.lost {
			w.durable = c.apply(w.durable)
		}
	}
	w.pending = nil
}

// PowerCut leaves of each file what was durable, and of what stands in it
// otherwise what tear makes of that: half, zeros, garbage; nil leaves nothing.
// Names that are not durable are taken back.
func (f *FaultFS) PowerCut(tear func(path string, lost []byte) []byte) error {
	return f.PowerCutKeeping(0, tear)
}

// PowerCutKeeping is PowerCut that keeps so many of the oldest names that are
// not durable: a file system may have written them by itself.
func (f *FaultFS) PowerCutKeeping(keep int, tear func(path string, lost []byte) []byte) error {
	return f.cutPower(keep, func(path string, w *written) ([]byte, error) {
		if tear == nil {
			return w.durable, nil
		}
		now, err := os.ReadFile(path)
		same := 0
		for same < min(len(now), len(w.durable)) && now[same] == w.durable[same] {
			same++
		}
		return append(bytes.Clone(now[:same]), tear(path, now[same:])...), err
	})
}

// PowerCutAtRandom is PowerCut that leaves a random part of what was not
// durable: some of the oldest names; and of each file nothing, all, a part of
// its writes in order with the next torn at any byte, any of its writes, or any
// of their blocks of 512 or 4096 bytes.
func (f *FaultFS) PowerCutAtRandom(rng *rand.Rand) error {
	f.mu.Lock()
	keep := rng.IntN(len(f.names) + 1)
	f.mu.Unlock()
	return f.cutPower(keep, func(_ string, w *written) ([]byte, error) { return w.chance(rng), nil })
}

// cutPower keeps the oldest names and gives each file the bytes that are left.
func (f *FaultFS) cutPower(keep int, left func(string, *written) ([]byte, error)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.takeBack(keep); err != nil {
		return fmt.Errorf("cut power: %w", err)
	}
	for _, path := range slices.Sorted(maps.Keys(f.files)) { // in order: chance has a seed
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			continue
		}
		b, err := left(path, f.files[path])
		if err == nil {
			err = os.WriteFile(path, b, fileMode)
		}
		if err != nil {
			return fmt.Errorf("cut power: %w", err)
		}
	}
	clear(f.files)
	return nil
}

// chance gives what a power cut may leave of a file.
func (w *written) chance(rng *rand.Rand) []byte {
	b := bytes.Clone(w.durable)
	coin := func() bool { return rng.IntN(2) == 0 }
	switch way := rng.IntN(6); way {
	case 0:
	case 1:
		for _, c := range w.pending {
			b = c.apply(b)
		}
	case 2:
		n := rng.IntN(len(w.pending) + 1)
		for _, c := range w.pending[:n] {
			b = c.apply(b)
		}
		if n < len(w.pending) && !w.pending[n].cut {
			torn := w.pending[n]
			torn.data = torn.data[:rng.IntN(len(torn.data)+1)]
			b = torn.apply(b)
		}
	case 3:
		for _, c := range w.pending {
			if coin() {
				b = c.apply(b)
			}
		}
	default:
		size := map[int]int64{4: 512, 5: 4096}[way]
		for _, c := range w.pending {
			for _, block := range c.blocks(size) {
				if coin() {
					b = block.apply(b)
				}
			}
		}
	}
	return b
}

// blocks splits a write where a disk does.
func (c change) blocks(size int64) []change {
	if c.cut {
		return []change{c}
	}
	var blocks []change
	for at, end := c.offset, c.offset+int64(len(c.data)); at < end; {
		next := min(end, (at/size+1)*size)
		blocks = append(blocks, change{offset: at, data: c.data[at-c.offset : next-c.offset]})
		at = next
	}
	return blocks
}
