package web

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"pvlog/consumers/partition"
	"pvlog/consumers/retrieval"
	"pvlog/schema"
)

// tailOf serves a tail of n samples; before is called first.
func tailOf(n int, before func()) func(*Options) {
	return func(o *Options) {
		o.Retrieval = retrieval.New(retrieval.Options{Tail: func(schema.PVName) (schema.DBRType, []retrieval.TailLine) {
			before()
			lines := make([]retrieval.TailLine, n)
			for i := range lines {
				at := schema.TimeOf(begin.Add(time.Duration(i) * time.Millisecond))
				lines[i] = retrieval.TailLine{Year: at.Year(), Event: schema.AppendDouble(schema.AppendHead(nil, at), 1.5)}
			}
			return schema.ScalarDouble, lines
		}})
	}
}

const dataOfA = "/retrieval/data/getData.json?pv=A&from=2026-11-23T00:00:00Z&to=2027-01-01T00:00:00Z"

func TestAnswerThatFailsHalfWayDoesNotLookWhole(t *testing.T) {
	f := newFixture(t)
	f.archive("A")
	f.put("A", 60*24*10) // ten days, one file an hour: several buffers of JSON
	last := partition.Path(f.store.Root, "A:", f.store.Granularity, begin.Add(9*24*time.Hour).Unix())
	// opened after the files were listed and much was sent: swap it meanwhile
	f.server.options.Retrieval = retrieval.New(retrieval.Options{Stores: []retrieval.Store{f.store}})
	for _, ext := range extensions() {
		conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if err := breakFile(last); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /retrieval/data/getData.%s?pv=A&from=2026-11-23T00:00:00Z&to=2027-01-01T00:00:00Z HTTP/1.1\r\nHost: x\r\n\r\n", ext)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		if resp.StatusCode == 200 && err == nil {
			t.Errorf("%s: %d bytes look like a whole answer", ext, n)
		}
		conn.Close()
	}
	if !strings.Contains(f.logs.String(), "the answer was cut off") {
		t.Errorf("nobody is told: %s", f.logs)
	}
}

// breakFile makes reading a file fail in its middle.
func breakFile(path string) error {
	if _, err := os.Lstat(path); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.Symlink("/proc/self/mem", path) // a file whose reading fails
}

func TestRetrievalsWaitTheirTurn(t *testing.T) {
	var mu sync.Mutex
	entered, release := make(chan struct{}, 10), make(chan struct{})
	running, most := 0, 0
	f := newFixture(t, func(o *Options) {
		o.MaxRetrievals, o.MaxWaiting, o.MaxWait = 2, 3, time.Minute
		tailOf(1, func() {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			entered <- struct{}{}
			<-release
			mu.Lock()
			running--
			mu.Unlock()
		})(o)
	})
	f.archive("A")
	answers := make(chan int, 6)
	var asking sync.WaitGroup
	ask := func() {
		asking.Go(func() {
			resp, _, err := f.try("GET", dataOfA, "", "")
			if err != nil {
				answers <- 0
				return
			}
			answers <- resp.StatusCode
		})
	}
	for range 2 {
		ask()
		<-entered
	}
	for range 4 { // three wait, the fourth is refused
		ask()
	}
	if first := <-answers; first != 503 {
		t.Errorf("the first answer is %d, want the refusal", first)
	}
	close(release)
	asking.Wait()
	for range 5 {
		if got := <-answers; got != 200 {
			t.Errorf("one that waited got %d", got)
		}
	}
	if most != 2 {
		t.Errorf("%d answers were written at once, 2 are allowed", most)
	}
}

func TestRequestThatWaitsTooLongIsRefused(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	f := newFixture(t, func(o *Options) {
		o.MaxRetrievals, o.MaxWait = 1, time.Millisecond
		tailOf(1, func() { entered <- struct{}{}; <-release })(o)
	})
	f.archive("A")
	done := make(chan struct{})
	go func() { defer close(done); _, _, _ = f.try("GET", dataOfA, "", "") }()
	<-entered
	resp, text := f.ask("GET", dataOfA, "", "")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	close(release)
	<-done
}

// A client that takes nothing gives its turn back when the stall time is over.
func TestStalledClientIsDropped(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.Stall = 50 * time.Millisecond
		tailOf(300_000, func() {})(o)
	})
	f.archive("A")
	gone := f.logs.line("client went away")
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", dataOfA)
	<-gone
}

func TestServeCutsWhatDoesNotEnd(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.Grace = 20 * time.Millisecond
		tailOf(300_000, func() {})(o)
	})
	f.archive("A")
	resp, err := http.Get(f.url + dataOfA)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	cut := f.logs.line("requests were cut off")
	go f.stop()
	<-cut
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("an answer that was cut looks whole")
	}
	f.stop()
}

func TestServeLetsRequestsFinish(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	f := newFixture(t, func(o *Options) {
		o.Grace = time.Minute
		tailOf(1, func() { close(entered); <-release })(o)
	})
	f.archive("A")
	status := make(chan int)
	go func() {
		resp, _, err := f.try("GET", dataOfA, "", "")
		if err != nil {
			status <- 0
			return
		}
		status <- resp.StatusCode
	}()
	<-entered
	stopped := make(chan struct{})
	go func() { f.stop(); close(stopped) }()
	close(release)
	if got := <-status; got != 200 {
		t.Errorf("the running request got %d", got)
	}
	<-stopped
	if _, err := http.Get(f.url + "/mgmt/bpl/ping"); err == nil {
		t.Error("the server still listens")
	}
}

// Serve returns when no request runs any more: what they use is closed next.
func TestServeWaitsForWhatItCut(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	f := newFixture(t, func(o *Options) {
		o.Grace = time.Millisecond
		tailOf(1, func() { close(entered); <-release })(o)
	})
	f.archive("A")
	asked, stopped := make(chan struct{}), make(chan struct{})
	go func() { defer close(asked); _, _, _ = f.try("GET", dataOfA, "", "") }()
	<-entered
	cut := f.logs.line("requests were cut off")
	go func() { f.stop(); close(stopped) }()
	<-cut
	select {
	case <-stopped:
		t.Error("Serve returned while a request was running")
	case <-time.After(50 * time.Millisecond): // it had the time to return
	}
	close(release)
	<-stopped
	<-asked
}
