package appliance

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"time"

	"pvlog/consumers/archive"
	"pvlog/consumers/partition"
	"pvlog/consumers/web"
	"pvlog/schema"
)

// partitions is what web needs for requests about a PV's files.
func (a *Appliance) partitions() web.Partitions {
	return web.Partitions{Verify: a.verifyFiles, Repair: a.repairFiles, Adopt: a.adoptFiles, Merge: a.mergeFile}
}

func (a *Appliance) verifyFiles(ctx context.Context, pv schema.PVName, limit int) ([]web.CheckedFile, error) {
	checked, err := a.archive.Verify(ctx, pv, limit)
	files := make([]web.CheckedFile, len(checked))
	for i, c := range checked {
		files[i] = web.CheckedFile(c)
	}
	return files, err
}

func (a *Appliance) repairFiles(ctx context.Context, pv schema.PVName, dry, future bool) ([]*partition.Repair, error) {
	o := archive.RepairOptions{DryRun: dry}
	if future {
		o.Latest = schema.TimeOf(time.Now().Add(a.futureWindow(pv)))
	}
	done, err := a.archive.Repair(ctx, pv, o)
	for _, r := range done {
		if r.Needed() && !dry {
			a.log.Info("a partition was repaired", "pv", string(pv), "partition", r.Path, "backup", r.Backup, "side_file", r.Side,
				"samples", r.Kept, "sorted", r.Sorted, "duplicates", r.Duplicates, "set_aside", r.SetAside, "whole", r.Whole)
		}
	}
	return done, err
}

// futureWindow is how far ahead of its reception a PV's sample may lie.
func (a *Appliance) futureWindow(pv schema.PVName) time.Duration {
	if info, ok := a.registry.Get(pv); ok && info.DriftFuture != 0 {
		return info.DriftFuture
	}
	return a.config.Drift.Future
}

func (a *Appliance) adoptFiles(ctx context.Context, pv schema.PVName, files []string, o web.AdoptOptions) ([]web.AdoptedFile, error) {
	adopted, err := a.archive.Adopt(ctx, pv, files, archive.AdoptOptions{Mode: archive.AdoptMode(o.Mode), Store: o.Store, DryRun: o.DryRun})
	list := make([]web.AdoptedFile, len(adopted))
	done := 0
	for i, f := range adopted {
		list[i] = web.AdoptedFile{CheckedFile: web.CheckedFile{Store: f.Store, Report: f.Report, Problems: f.Problems},
			Outcome: f.Outcome, Why: f.Why, Granularity: f.Granularity, Target: f.Target, Elements: elements(f)}
		if f.Outcome == archive.AdoptDone {
			done++
		}
	}
	if done > 0 && !o.DryRun {
		a.log.Info("partitions of another archive were adopted", "pv", string(pv), "files", done, "mode", o.Mode)
	}
	return list, err
}

// elements is how many elements the newest sample of an adopted file has, 0 if
// that is not known.
func elements(f archive.Adopted) int {
	if n := f.Report.Header.ElementCount; n > 0 || !f.Report.Header.Type.Waveform() {
		return n
	}
	tail, err := partition.ReadTail(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		tail, err = partition.ReadTail(f.Target) // it was moved
	}
	if err != nil || tail.Event == nil {
		return 0
	}
	s, err := schema.DecodeSample(tail.Header.Type, tail.Header.Year, tail.Event)
	if err != nil {
		return 0
	}
	switch v := s.Value.(type) {
	case []byte:
		return len(v)
	case []string:
		return len(v)
	case []int32:
		return len(v)
	case []float32:
		return len(v)
	case []float64:
		return len(v)
	}
	return 0
}

// mergeAtOnce is how many samples of a file are in memory while it is merged.
const mergeAtOnce = 100_000

func (a *Appliance) mergeFile(ctx context.Context, pv schema.PVName, file string) (web.Merged, error) {
	var sum web.Merged
	err := archive.LateOf(ctx, file, mergeAtOnce, func(late []archive.Late) error {
		merged, err := a.archive.Merge(ctx, pv, late)
		sum.Added += merged.Count(partition.Added)
		sum.There += merged.Count(partition.There)
		sum.Differ += merged.Count(partition.Differs)
		sum.Left += merged.Count(partition.Waits)
		return err
	})
	if errors.Is(err, io.EOF) { // no complete header
		err = nil
	}
	return sum, err
}
