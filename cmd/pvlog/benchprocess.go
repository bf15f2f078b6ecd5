package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// processUse is what a process has used since its start, by Linux's account;
// zeros where the system does not tell.
type processUse struct {
	at      time.Time
	cpu     time.Duration // user and system
	written int64         // bytes sent to the disk
}

// tickTime is the unit of CPU time in /proc: USER_HZ is 100 on all of Linux.
const tickTime = 10 * time.Millisecond

// useOf looks at a process of this user.
func useOf(pid int) processUse {
	u := processUse{at: time.Now()}
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		// The second field is the program's name, which may hold anything.
		_, rest, _ := bytes.Cut(stat, []byte(") "))
		if fields := strings.Fields(string(rest)); len(fields) > 12 {
			user, _ := strconv.ParseInt(fields[11], 10, 64)
			system, _ := strconv.ParseInt(fields[12], 10, 64)
			u.cpu = time.Duration(user+system) * tickTime
		}
	}
	if io, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid)); err == nil {
		_, rest, _ := bytes.Cut(io, []byte("\nwrite_bytes: "))
		line, _, _ := bytes.Cut(rest, []byte("\n"))
		u.written, _ = strconv.ParseInt(string(line), 10, 64)
	}
	return u
}

// memoryWatch looks at the resident memory of a process four times a second.
type memoryWatch struct {
	stop context.CancelFunc
	done chan struct{}

	// owned by the watch's goroutine until done is closed
	most, sum, looks int64
}

func watchMemory(ctx context.Context, pid int) *memoryWatch {
	ctx, stop := context.WithCancel(ctx)
	w := &memoryWatch{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			rss := residentOf(fmt.Sprint(pid))
			w.most, w.sum, w.looks = max(w.most, rss), w.sum+rss, w.looks+1
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return w
}

// end gives the largest and the mean resident memory in bytes.
func (w *memoryWatch) end() (most, mean int64) {
	w.stop()
	<-w.done
	return w.most, w.sum / w.looks
}
