package archive

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"pvlog/consumers/filter"
	"pvlog/consumers/partition"
	"pvlog/schema"
)

// target is a partition and the late samples that belong into it.
type target struct {
	store Store
	start int64 // of the partition
	path  string
	late  []int // of merging.late
}

// storeFiles is a store with the PV's partitions in it, oldest first.
type storeFiles struct {
	Store
	files []partition.File
}

// targets finds the partition of each sample, the oldest first, and leaves out
// what may not stand in any.
func (m *merging) targets() ([]*target, error) {
	tiers, err := m.list()
	if err != nil {
		return nil, err
	}
	byPath := map[string]*target{}
	var all []*target
	for i, late := range m.late {
		if reason, why := m.allowed(late); why != nil {
			m.done.Placed[i] = Placed{Reason: reason, Why: why}
			continue
		}
		t := placeFor(tiers, m.f.key, late.Time)
		outcome, err := elsewhere(tiers, t.path, late)
		if m.done.Placed[i] = (Placed{outcome, reasonFile, err}); outcome != partition.Waits || err != nil {
			continue
		}
		if known := byPath[t.path]; known != nil {
			known.late = append(known.late, i)
			continue
		}
		t.late = []int{i}
		byPath[t.path] = &t
		all = append(all, &t)
	}
	slices.SortStableFunc(all, func(a, b *target) int { return int(min(max(a.start-b.start, -1), 1)) })
	return all, nil
}

// list finds the PV's partitions in all stores, and its newest sample if that is
// not known yet.
func (m *merging) list() ([]storeFiles, error) {
	var tiers []storeFiles
	for i, store := range m.a.stores {
		files, err := partition.List(store.Root, m.f.key, store.Granularity)
		if err == nil && len(files) == 0 { // a store whose mount is lost has none either
			err = m.a.checkMark(i)
		}
		if err != nil {
			return nil, fmt.Errorf("list partitions of %s: %w", m.pv, err)
		}
		for _, file := range slices.Backward(files) {
			if !m.floor.IsZero() {
				break
			}
			tail, err := partition.ReadTail(file.Path)
			if err != nil {
				continue // whoever merges into it is told
			}
			m.floor = tail.Last
		}
		tiers = append(tiers, storeFiles{store, files})
	}
	return tiers, nil
}

// allowed says why a sample may stand in no file of the PV, or nil.
func (m *merging) allowed(late Late) (reason string, why error) {
	switch {
	case late.Type != m.info.DBRType:
		return string(filter.Type), schema.Errorf(schema.Conflict, "the sample is %v, PV %s is registered as %v", late.Type, m.pv, m.info.DBRType)
	case !late.Time.Legal():
		return string(filter.Nanos), schema.Errorf(schema.Invalid, "%d nanoseconds are no time", late.Time.Nsec)
	case late.Time.After(m.floor) && late.Time.After(m.until):
		return reasonTooNew, schema.Errorf(schema.Conflict, "at %v, later than anything of PV %s: samples that are on their way would come too late for its file: try again when that time is over", late.Time, m.pv)
	}
	event, err := schema.ScanEvent(late.Event)
	if err == nil && event.Time(late.Time.Year()) != late.Time {
		err = fmt.Errorf("the sample's own time is %v, not %v", event.Time(late.Time.Year()), late.Time)
	}
	if err != nil {
		return string(filter.Damaged), schema.Errorf(schema.Invalid, "%w", err)
	}
	return "", nil
}

// placeFor is the partition of an instant. Finer tiers hold what is newer, and
// their files are moved behind those of the coarser ones: so it is in the finest
// tier that has a file of that time or an older one; if it is older than all, in
// the coarsest that has files; else in the store that is appended to.
func placeFor(tiers []storeFiles, key string, at schema.Time) target {
	chosen := tiers[0]
	for _, tier := range tiers {
		if len(tier.files) == 0 {
			continue
		}
		chosen = tier
		if tier.files[0].Start <= at.Sec {
			break
		}
	}
	for _, file := range chosen.files {
		if file.Start <= at.Sec && at.Sec < file.End {
			return target{store: chosen.Store, start: file.Start, path: file.Path}
		}
	}
	start := chosen.Granularity.Start(at)
	return target{store: chosen.Store, start: start, path: partition.Path(chosen.Root, key, chosen.Granularity, start)}
}

// elsewhere decides of a sample that stands in a file of another tier.
func elsewhere(tiers []storeFiles, path string, late Late) (partition.Outcome, error) {
	for _, tier := range tiers {
		for _, file := range tier.files {
			if file.Path == path || late.Time.Sec < file.Start || late.Time.Sec >= file.End {
				continue
			}
			event, found, err := partition.Find(file.Path, late.Time)
			if err != nil {
				return partition.Waits, err
			}
			if found {
				return partition.Compare(event, late.Event)
			}
		}
	}
	return partition.Waits, nil
}

// removeLeftovers removes what replacements have left that a killed process did
// not finish. It only costs space, so nobody waits for it.
func (a *Archive) removeLeftovers(ctx context.Context, began time.Time) {
	for _, store := range a.stores {
		n, err := partition.RemoveReplacements(ctx, a.opt.FS, store.Root, began)
		if n > 0 {
			a.log.Info("files that were to replace partitions, and were not finished, are removed", "store", store.Name, "files", n)
		}
		if err != nil && ctx.Err() == nil {
			a.log.Warn("files that were to replace partitions may be left", "store", store.Name, "err", err)
		}
	}
}

// foldersUp are a path and the folders above it, up to a root.
func foldersUp(path, root string) []string {
	all := []string{path}
	for dir := filepath.Dir(path); len(dir) >= len(root) && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		all = append(all, dir)
	}
	return all
}
