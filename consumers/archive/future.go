package archive

import (
	"cmp"
	"os"
	"slices"
	"time"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// Future is a partition that ends later than any sample of its PV can be: an
// adopted file, or one that a wrong clock has poisoned. It is no floor for new
// samples (D1); its last lines stand there until somebody moves them aside, which
// Repair does. What belongs into the file itself goes to the drop log until then.
type Future struct {
	PV    schema.PVName
	Path  string
	Last  schema.Time
	Found time.Time
}

// futuresMost bounds how many are remembered; the metric counts them all.
const futuresMost = 1000

// foundFuture tells of such a file, once.
func (a *Archive) foundFuture(pv schema.PVName, path string, last schema.Time) {
	a.mu.Lock()
	_, known := a.futures[path]
	if a.futures == nil {
		a.futures = map[string]Future{}
	}
	if !known && len(a.futures) < futuresMost {
		a.futures[path] = Future{PV: pv, Path: path, Last: last, Found: time.Now()}
	}
	a.mu.Unlock()
	if known {
		return
	}
	a.metrics.futureFiles.Inc()
	a.log.Error("a partition ends in the future and does not serve as the PV's last time",
		"pv", string(pv), "partition", path, "last", last.String())
}

// noFuture forgets a file that was put right.
func (a *Archive) noFuture(path string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.futures, path)
}

// Futures are the partitions found to end in the future, by path, of one PV or
// of all (""). One that was moved away, or ends in the past by now, is none.
func (a *Archive) Futures(pv schema.PVName) []Future {
	a.mu.RLock()
	var list []Future
	for _, f := range a.futures {
		if pv == "" || f.PV == pv {
			list = append(list, f)
		}
	}
	a.mu.RUnlock()
	now := schema.TimeOf(time.Now())
	list = slices.DeleteFunc(list, func(f Future) bool {
		if f.Last.After(now) {
			if _, err := os.Stat(f.Path); err == nil {
				tail, err := partition.ReadTail(f.Path)
				if err != nil || tail.Last.After(now) {
					return false
				}
			}
		}
		a.mu.Lock()
		delete(a.futures, f.Path)
		a.mu.Unlock()
		return true
	})
	slices.SortFunc(list, func(x, y Future) int { return cmp.Compare(x.Path, y.Path) })
	return list
}
