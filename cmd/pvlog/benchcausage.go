package main

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// usage is what this process holds and has used.
type usage struct {
	heap, rss  int64 // bytes; rss is 0 where the system does not tell
	goroutines int
	cpu        time.Duration
	at         time.Time
}

// used looks without a collection.
func used() usage {
	return usage{rss: residentBytes(), goroutines: runtime.NumGoroutine(), cpu: cpuTime(), at: time.Now()}
}

// settled looks after garbage was collected and given back: what is left is
// in use.
func settled() usage {
	debug.FreeOSMemory()
	debug.FreeOSMemory() // what finalizers and pools held for one round
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u := used()
	u.heap = int64(m.HeapAlloc)
	return u
}

// cpuTime is what this process has used, user and system.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// residentBytes is the memory of this process by Linux's account.
func residentBytes() int64 { return residentOf("self") }

// residentOf is that of a process by its id.
func residentOf(pid string) int64 {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(status, []byte("VmRSS:"))
	number, _, _ := bytes.Cut(bytes.TrimSpace(rest), []byte(" kB"))
	kB, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil {
		return 0
	}
	return kB << 10
}
