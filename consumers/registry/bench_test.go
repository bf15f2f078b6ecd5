package registry

import (
	"fmt"
	"testing"

	"pvlog/schema"
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
			for range b.N {
				b.StopTimer()
				log, stop := realLog(b, b.TempDir())
				r := start(b, b.TempDir(), log)
				b.StartTimer()
				ok(b, r.Archive(ctx, operator, requests...))
				b.StopTimer()
				r.stop()
				stop()
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "PVs/s")
		})
	}
}
