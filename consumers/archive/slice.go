package archive

import (
	"context"
	"time"
)

// A round of very many PVs is cut into slices, each a round of its own: it
// writes those that have waited longest, makes them durable and acknowledges.
// In between the log is read and requests are served, so that neither the hour
// of 100,000 partitions nor a slow disk holds anything up for longer than a
// slice. Few PVs are always written at once.
const (
	sliceLeast = 256
	sliceTime  = 250 * time.Millisecond
)

// flushSome is flush for as long as a slice may take.
func (a *Archive) flushSome(ctx context.Context) error {
	for began := time.Now(); ; {
		if err := a.round(ctx); err != nil {
			return err
		}
		if len(a.dirty) == 0 || len(a.dirty) >= sliceLeast && time.Since(began) > a.sliceFor {
			return nil
		}
	}
}

// wait notes that samples of a PV wait to be written. Every PV in dirty stands
// in order; one may stand there twice, or be written already.
func (a *Archive) wait(f *pvFiles) {
	a.dirty[f] = struct{}{}
	a.order = append(a.order, f)
}

// appendAll writes the oldest waiting partition of every PV, or of those that
// have waited longest, as far as a slice goes. A slice is as long as the last
// sync, if that took longer: what a sync costs hardly depends on how much it
// has to do.
func (a *Archive) appendAll() (appends []written, dirs []string, err error) {
	began := time.Now()
	limit := max(a.sliceFor, a.syncTook)
	a.slice++
	a.turns = 0
	for _, f := range a.order {
		if a.turns >= sliceLeast && a.turns%32 == 0 && time.Since(began) > limit {
			break
		}
		a.turns++
		if _, waits := a.dirty[f]; !waits || f.slice == a.slice {
			continue
		}
		f.slice = a.slice
		w, made, err := a.append(f)
		dirs = append(dirs, made...)
		if err != nil {
			return nil, nil, err
		}
		if w.part != nil {
			appends = append(appends, w)
		}
	}
	a.wroteFor = time.Since(began)
	return appends, dirs, nil
}

// turned takes the PVs of a slice that succeeded out of the order, but those
// that have a further partition waiting, which come first again: nothing of
// their log can be acknowledged before.
func (a *Archive) turned() {
	left := a.order[:0]
	for _, f := range a.order[:a.turns] {
		if _, waits := a.dirty[f]; waits {
			left = append(left, f)
		}
	}
	a.cut = a.turns < len(a.order)
	left = append(left, a.order[a.turns:]...)
	clear(a.order[len(left):])
	a.order, a.turns = left, 0
}

// interval is the time from round to round: at least RoundEvery, or nothing
// from one slice to the next, and four times what the last one took to write,
// so that file work stays under a fifth of a core however many PVs there are
// (D3); and as long as it took in all, the sync included, which costs time
// rather than work, so that half of the time is left for the log.
func (a *Archive) interval() time.Duration {
	pause := max(4*a.wroteFor, a.roundTook)
	if a.cut {
		return pause
	}
	return max(a.opt.RoundEvery, pause)
}
