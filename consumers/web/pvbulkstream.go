package web

import (
	"encoding/json"
	"net/http"
	"sync"
)

// ndjson is the media type of a streamed answer: one JSON document a line.
const ndjson = "application/x-ndjson"

// progressJSON is how far a command is.
type progressJSON struct {
	Done  int `json:"done"`
	Total int `json:"total"`
}

// stream runs the command and writes a line per PV as it comes into force, a
// line of progress after each batch, and the summary. The lines are written
// beside the command: a client that is slow or gone holds up nothing but them.
// What waits to be written is bounded by the number of PVs.
func (run *bulkRun) stream(w http.ResponseWriter) {
	var mu sync.Mutex
	var fresh []itemJSON    // guarded by mu
	total := len(run.items) // guarded by mu
	wake := make(chan struct{}, 1)
	run.report = func(item *bulkItem) {
		mu.Lock()
		defer mu.Unlock()
		fresh, total = append(fresh, run.json(item)), max(len(run.items), run.total)
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	lines := newLines(w)
	lines.write(map[string]any{"change": map[string]any{"id": run.bulk.ChangeID, "command": run.bulk.kind.command, "total": total, "dry_run": run.bulk.DryRun}})
	lines.flush()
	ended := make(chan struct{})
	var writer sync.WaitGroup
	defer writer.Wait()
	defer close(ended)
	writer.Go(func() {
		for count, more := 0, true; more; {
			select {
			case <-wake:
			case <-ended:
				more = false
			}
			mu.Lock()
			items, all := fresh, total
			fresh = nil
			mu.Unlock()
			for _, item := range items {
				lines.write(item)
			}
			if count += len(items); len(items) > 0 {
				lines.write(map[string]any{"progress": progressJSON{count, all}})
				lines.flush()
			}
		}
		if run.err != nil {
			lines.write(map[string]any{"problem": run.server.problemOf("", "", run.err)})
		}
		if run.complete {
			lines.write(map[string]any{"summary": run.summary()})
			lines.flush()
		}
	})
	run.all()
}

// lines writes JSON documents until the client takes no more.
type lines struct {
	encoder *json.Encoder
	control *http.ResponseController
	gone    bool
}

func newLines(w http.ResponseWriter) *lines {
	w.Header().Set("Content-Type", ndjson)
	w.Header().Set("X-Accel-Buffering", "no") // a proxy that gathers lines hides the progress
	l := &lines{encoder: json.NewEncoder(w), control: http.NewResponseController(w)}
	l.encoder.SetEscapeHTML(false)
	return l
}

func (l *lines) write(v any) {
	if !l.gone {
		l.gone = l.encoder.Encode(v) != nil
	}
}

func (l *lines) flush() {
	if !l.gone {
		l.gone = l.control.Flush() != nil
	}
}
