package registry

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"pvlog/schema"
	"pvlog/schema/logpb"
	"pvlog/streams"
)

// manyRequests are requests for n PVs with names of usual length.
func manyRequests(n int) []Request {
	requests := make([]Request, n)
	for i := range requests {
		requests[i] = Request{PV: schema.PVName(fmt.Sprintf("LINAC:SECTOR%02d:BPM%05d:X:POSITION", i%40, i))}
	}
	return requests
}

// BenchmarkArchive is a bulk command on the embedded log.
func BenchmarkArchive(b *testing.B) {
	for _, n := range []int{1, 1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			requests := manyRequests(n)
			spent := 0.0
			for range b.N {
				b.StopTimer()
				log, stop := realLog(b, b.TempDir())
				r := start(b, b.TempDir(), log)
				r.archive("WARM:UP")
				spent -= processor()
				b.StartTimer()
				ok(b, r.Archive(ctx, operator, requests...))
				b.StopTimer()
				spent += processor()
				r.stop()
				stop()
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "PVs/s")
			b.ReportMetric(spent/float64(n*b.N)*1e6, "cpu-us/PV")
		})
	}
}

// BenchmarkPause is single commands, one after the other and 16 at a time.
func BenchmarkPause(b *testing.B) {
	for _, at := range []int{1, 16} {
		b.Run(fmt.Sprint(at), func(b *testing.B) {
			log, _ := realLog(b, b.TempDir())
			r := start(b, b.TempDir(), log)
			requests := manyRequests(1000)
			ok(b, r.Archive(ctx, operator, requests...))
			b.SetParallelism(max(1, at/runtime.GOMAXPROCS(0)))
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					r.Pause(ctx, operator, requests[i%1000].PV)
					r.Resume(ctx, operator, requests[i%1000].PV)
				}
			})
			b.ReportMetric(float64(2*b.N)/b.Elapsed().Seconds(), "commands/s")
		})
	}
}

// BenchmarkStart is what a site with 100,000 PVs and 1 million events waits for:
// a start from Badger, one without it, a past state, a verification; and what
// all that takes in memory and on disk. PVLOG_BENCH_EVENTS is another number of
// events.
func BenchmarkStart(b *testing.B) {
	events := 1_000_000
	if n, err := strconv.Atoi(os.Getenv("PVLOG_BENCH_EVENTS")); err == nil {
		events = n
	}
	logDir, dir := b.TempDir(), b.TempDir()
	log, _ := realLog(b, logDir)
	pvs := events / 10
	began := time.Now()
	midway := live(b, log, pvs, events)
	b.Logf("%d events of %d PVs appended in %v", events, pvs, time.Since(began))
	idle, idleHeap := resident()
	measure := func(name string, do func(r *rig)) {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				began, spent := time.Now(), processor()
				r := start(b, dir, log)
				b.ReportMetric(time.Since(began).Seconds(), "start-s")
				b.ReportMetric(processor()-spent, "start-cpu-s")
				began, spent = time.Now(), processor()
				do(r)
				b.ReportMetric(time.Since(began).Seconds(), "s")
				b.ReportMetric(processor()-spent, "cpu-s")
				memory, heap := resident()
				b.ReportMetric(float64(memory-idle)/float64(pvs), "rss-B/PV")
				b.ReportMetric(float64(heap-idleHeap)/float64(pvs), "heap-B/PV")
				r.stop()
			}
		})
	}
	nothing := func(r *rig) {
		if n := len(r.All()); n != pvs {
			b.Fatalf("%d PVs", n)
		}
	}
	measure("rebuild", nothing)
	measure("badger", nothing)
	measure("at", func(r *rig) {
		if infos, _, err := r.At(ctx, time.Now()); err != nil || len(infos) != pvs {
			b.Fatalf("%d PVs, %v", len(infos), err)
		}
	})
	measure("at midway", func(r *rig) { // every PV has changed since
		if infos, _, err := r.At(ctx, midway); err != nil || len(infos) != pvs {
			b.Fatalf("%d PVs, %v", len(infos), err)
		}
	})
	measure("verify", func(r *rig) {
		if err := r.Verify(ctx); err != nil {
			b.Fatal(err)
		}
	})
	measure("history", func(r *rig) {
		const names = 10
		n := 0
		for _, q := range manyRequests(names) {
			if err := r.History(ctx, q.PV, func(uint64, *logpb.RegistryEvent) error { n++; return nil }); err != nil {
				b.Fatal(err)
			}
		}
		if n != names*events/pvs {
			b.Fatalf("%d events", n)
		}
	})
	b.Logf("Badger %d MiB, log %d MiB", used(dir)>>20, used(logDir)>>20)
}

// live gives PVs a life of ten events each, and tells when half of it was over.
func live(b *testing.B, log *streams.EventLog, pvs, events int) (midway time.Time) {
	requests := manyRequests(pvs)
	last := make([]uint64, pvs)
	info := &logpb.PVStarted{Type: 6, ElementCount: 1, Host: "10.0.0.17:5064", Units: "mm", Precision: 3,
		Limits: map[string]float64{"HIHI": 1, "LOLO": -1, "HIGH": 1, "LOW": -1, "HOPR": 2, "LOPR": -2, "DRVH": 2, "DRVL": -2},
		Fields: map[string]string{"RTYP": "ai", "DESC": "horizontal position", "MDEL": "0.01", "ADEL": "0.01", "SCAN": "1 second"}}
	for n := 0; n < events; {
		var batch []streams.Proposal
		first := n
		if n <= events/2 {
			midway = time.Now()
		}
		for ; n < events && len(batch) < maxAtomic; n++ {
			i := n % pvs
			e := &logpb.RegistryEvent{Version: 1, Pv: string(requests[i].PV), Time: time.Now().UnixNano(), Actor: "operator", Source: "10.0.0.5:3321", ChangeId: "20261125T083015-k3x9q7"}
			switch round := n / pvs; {
			case round == 0:
				e.What = &logpb.RegistryEvent_Requested{Requested: &logpb.PVRequested{SamplingMethod: "MONITOR", SamplingPeriod: 1, Policy: "default"}}
			case round == 1:
				e.What = &logpb.RegistryEvent_Started{Started: info}
			case round%2 == 0:
				e.What = &logpb.RegistryEvent_Paused{Paused: &logpb.PVPaused{}}
			default:
				e.What = &logpb.RegistryEvent_Resumed{Resumed: &logpb.PVResumed{}}
			}
			batch = append(batch, streams.Proposal{Event: e, Expect: last[i]})
		}
		seqs, err := log.Append(ctx, batch...)
		if err != nil {
			b.Fatal(err)
		}
		for k, seq := range seqs {
			last[(first+k)%pvs] = seq
		}
	}
	return midway
}

// processor is the CPU seconds that the process took, its log's server included:
// on a machine that others use too it tells more than the clock. 0 where /proc
// does not tell.
func processor() float64 {
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100 // ticks of a second
}

// resident is the process's memory after a collection, and what of it is in use
// on the heap.
func resident() (memory, heap int64) {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return int64(m.HeapAlloc), int64(m.HeapAlloc)
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	return kb << 10, int64(m.HeapAlloc)
}

// used is what the files below a folder take on disk.
func used(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}
