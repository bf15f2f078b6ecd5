package ingest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"pvlog/schema"
)

// The counters' file survives a restart of pvlog (S7). It is text: a line that
// names its version, a line of numbers for each PV with the name at its end,
// and a line that counts them, without which it is not whole. Version 2 has
// more numbers than version 1, which is still read.
const (
	countersVersion = "pvlog ingest counters 2"
	countersFormer  = "pvlog ingest counters 1"
	countersFormerN = 10
	countersEnd     = "end "
	countersEvery   = 10 * time.Second
	countersShare   = 100 // writing takes at most this part of the time
)

var errCountersFile = errors.New("not a whole counters file")

// numbers are what the file holds of a PV, in order; new ones stand at the end.
func (h *history) numbers() [12]int64 {
	return [...]int64{
		h.created,
		int64(h.received.Load()), int64(h.appended.Load()),
		int64(h.overflowWaits.Load()), int64(h.overflowDrops.Load()),
		int64(h.transientErrors.Load()), int64(h.disconnects.Load()),
		h.first.Load(), h.lastDisconnect.Load(), int64(h.observed.Load()),
		int64(h.bytes.Load()), int64(h.suppressed.Load()),
	}
}

// historyOf is the inverse of numbers.
func historyOf(n [12]int64) *history {
	h := &history{created: n[0]}
	h.received.Store(uint64(n[1]))
	h.appended.Store(uint64(n[2]))
	h.overflowWaits.Store(uint64(n[3]))
	h.overflowDrops.Store(uint64(n[4]))
	h.transientErrors.Store(uint64(n[5]))
	h.disconnects.Store(uint64(n[6]))
	h.first.Store(n[7])
	h.lastDisconnect.Store(n[8])
	h.observed.Store(int32(n[9]))
	h.bytes.Store(uint64(n[10]))
	h.suppressed.Store(uint64(n[11]))
	return h
}

// encodeCounters makes the file's content.
func encodeCounters(histories map[schema.PVName]*history) []byte {
	b := append(make([]byte, 0, 100+100*len(histories)), countersVersion+"\n"...)
	for pv, h := range histories {
		for _, n := range h.numbers() {
			b = strconv.AppendInt(b, n, 10)
			b = append(b, ' ')
		}
		b = append(append(b, pv...), '\n')
	}
	return fmt.Appendf(b, "%s%d\n", countersEnd, len(histories))
}

// decodeCounters reads the file's content.
func decodeCounters(text string) (map[schema.PVName]*history, error) {
	lines := bufio.NewScanner(strings.NewReader(text))
	histories := make(map[schema.PVName]*history)
	count := len((&history{}).numbers())
	switch {
	case lines.Scan() && lines.Text() == countersVersion:
	case lines.Text() == countersFormer:
		count = countersFormerN
	default:
		return nil, fmt.Errorf("%w: it does not begin with %q", errCountersFile, countersVersion)
	}
	for n := 2; lines.Scan(); n++ {
		if lines.Text() == countersEnd+strconv.Itoa(len(histories)) {
			return histories, nil
		}
		pv, h, err := decodeLine(lines.Text(), count)
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", errCountersFile, n, err)
		}
		histories[pv] = h
	}
	return nil, fmt.Errorf("%w: its end is missing", errCountersFile)
}

func decodeLine(line string, count int) (schema.PVName, *history, error) {
	var numbers [12]int64
	parts := strings.SplitN(line, " ", count+1)
	if len(parts) != count+1 || parts[count] == "" {
		return "", nil, fmt.Errorf("%d numbers and a name are expected", count)
	}
	for i := range count {
		n, err := strconv.ParseInt(parts[i], 10, 64)
		if err != nil {
			return "", nil, err
		}
		numbers[i] = n
	}
	return schema.PVName(parts[count]), historyOf(numbers), nil
}

// loadCounters gives the counters of the registrations that are known; a file
// that cannot be read costs the counters and nothing else.
func (e *Engine) loadCounters(infos []*schema.TypeInfo) {
	if e.opt.CountersFile == "" {
		return
	}
	text, err := os.ReadFile(e.opt.CountersFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var kept map[schema.PVName]*history
	if err == nil {
		kept, err = decodeCounters(string(text))
	}
	if err != nil {
		e.log.Warn("counters of the last run are lost", slog.String("file", e.opt.CountersFile), slog.Any("err", err))
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, info := range infos {
		if h := kept[info.PV]; h != nil && h.created == info.Created.UnixNano() {
			e.histories[info.PV] = h
		}
	}
}

// saveCounters replaces the file. It is not made durable: a crash of the
// machine may cost what was counted last.
func (e *Engine) saveCounters() error {
	e.mu.RLock()
	b := encodeCounters(e.histories)
	e.mu.RUnlock()
	next := e.opt.CountersFile + ".new"
	if err := os.WriteFile(next, b, 0o644); err != nil {
		return fmt.Errorf("write counters: %w", err)
	}
	if err := os.Rename(next, e.opt.CountersFile); err != nil {
		return fmt.Errorf("replace counters: %w", err)
	}
	return nil
}

// keepCounters saves now and then until ctx ends.
func (e *Engine) keepCounters(ctx context.Context) {
	if e.opt.CountersFile == "" {
		return
	}
	failed := false
	for pause := countersEvery; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		begun := time.Now()
		err := e.saveCounters()
		if err != nil && !failed {
			e.log.Warn("counters are not kept; trying again", slog.Any("err", err))
		}
		failed = err != nil
		pause = max(countersEvery, countersShare*time.Since(begun))
	}
}
