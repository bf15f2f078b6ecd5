package web

import (
	"context"
	"net/http"
	"net/url"
	"os"
	counters "runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// process keeps a day of the process's load and memory, one moment a minute.
type process struct {
	mu      sync.Mutex
	moments []moment // guarded by mu; oldest first
}

// moment is the process at one time.
type moment struct {
	at   time.Time
	load float64 // of the machine over a minute; 0 where the system does not tell
	heap float64 // live part of the memory that the runtime holds, in percent
}

// Bounds of what is kept.
const (
	momentEvery = time.Minute
	momentsMax  = 24 * 60
)

// run notes a moment now and every minute until ctx ends.
func (p *process) run(ctx context.Context) {
	tick := time.NewTicker(momentEvery)
	defer tick.Stop()
	for {
		p.note(moment{at: time.Now(), load: loadAverage(), heap: heapPercent()})
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *process) note(m moment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.moments) == momentsMax {
		p.moments = slices.Delete(p.moments, 0, 1)
	}
	p.moments = append(p.moments, m)
}

func (p *process) day() []moment {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.moments)
}

// loadAverage is the machine's load of the last minute.
func loadAverage() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(b), " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return load
}

// heapPercent is how much of the memory that the runtime took is in use.
func heapPercent() float64 {
	samples := []counters.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"}}
	counters.Read(samples)
	for _, s := range samples {
		if s.Value.Kind() != counters.KindUint64 || s.Value.Uint64() == 0 {
			return 0
		}
	}
	return 100 * float64(samples[0].Value.Uint64()) / float64(samples[1].Value.Uint64())
}

// components are the Appliance's parts, each a process there and all one here.
var components = []string{"MGMT", "ENGINE", "ETL", "RETRIEVAL"}

// processMetrics makes the handler that answers the day of some components.
func (s *Server) processMetrics(of ...string) handler {
	return withValues(func(w http.ResponseWriter, _ url.Values) error {
		moments := []map[string]string{}
		for _, m := range s.process.day() {
			moments = append(moments, map[string]string{"timeInEpochSeconds": strconv.FormatInt(m.at.Unix(), 10),
				"systemLoadAverage": plain(m.load), "heapUsedPercent": plain(m.heap)})
		}
		body := map[string]any{}
		for _, name := range of {
			body[name+"_start"] = reportTime(s.started)
			body[name+"_uptime"] = int64(time.Since(s.started).Seconds())
			body[name+"_metrics"] = moments
		}
		writeJSON(w, http.StatusOK, body)
		return nil
	})
}

// curve is a line of the chart of the Appliance's pages.
type curve struct {
	Label string       `json:"label"`
	Data  [][2]float64 `json:"data"` // Unix milliseconds and value
}

// processChart answers the same as curves.
func (s *Server) processChart(w http.ResponseWriter, values url.Values) error {
	if err := s.mine(values); err != nil {
		return err
	}
	load, heap := curve{Label: "system_load (%)", Data: [][2]float64{}}, [][2]float64{}
	for _, m := range s.process.day() {
		at := float64(m.at.UnixMilli())
		load.Data = append(load.Data, [2]float64{at, m.load})
		heap = append(heap, [2]float64{at, m.heap})
	}
	return writeList(w, []curve{load, {"engine_heap (%)", heap}, {"etl_heap (%)", heap}, {"retrieval_heap (%)", heap}})
}

// mgmtMetrics answers how long this server has been running, as ISO 8601.
func (s *Server) mgmtMetrics(w http.ResponseWriter, values url.Values) error {
	if err := s.mine(values); err != nil {
		return err
	}
	up := "PT" + strings.ToUpper(time.Since(s.started).Round(time.Millisecond).String())
	writeJSON(w, http.StatusOK, map[string]string{"uptime": up})
	return nil
}
