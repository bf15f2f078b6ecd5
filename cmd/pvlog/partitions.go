package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"pvlog/consumers/archive"
	"pvlog/consumers/partition"
)

// partitionFiles are the files that a command on PB files is about.
type partitionFiles struct {
	Files []string `arg:"" optional:"" type:"path" name:"file" help:"PB files, or folders to look for *.pb in: ours or the Appliance's."`
	Jobs  int      `short:"j" placeholder:"N" help:"Files that are read at once; default: as many as there are processors."`
}

// partitionFile is one file that was found.
type partitionFile struct {
	path string
	root string // of the store that it is in, "" if that is not known
	what partition.Found
}

// each does work on every file, some at once, and gives the results to take in
// the order of the files. The error of work does not end it, that of take does.
func each[T any](c partitionFiles, work func(partitionFile) T, take func(partitionFile, T) error) error {
	type job struct {
		file partitionFile
		done chan T
	}
	jobs := c.Jobs
	if jobs < 1 {
		jobs = runtime.GOMAXPROCS(0)
	}
	queue, stop := make(chan job, 2*jobs), make(chan struct{})
	free := make(chan struct{}, jobs)
	var walked error
	var walking sync.WaitGroup
	walking.Go(func() {
		defer close(queue)
		walked = c.walk(func(f partitionFile) error {
			j := job{f, make(chan T, 1)}
			select {
			case free <- struct{}{}:
			case <-stop:
				return errStopped
			}
			walking.Go(func() {
				j.done <- work(f)
				<-free
			})
			select {
			case queue <- j:
			case <-stop:
				return errStopped
			}
			return nil
		})
	})
	var err error
	for j := range queue {
		if result := <-j.done; err == nil {
			if err = take(j.file, result); err != nil {
				close(stop)
			}
		}
	}
	walking.Wait()
	if err == nil {
		err = walked
	}
	return err
}

var errStopped = errors.New("stopped")

// walk finds the files, partitions and what was left beside them.
func (c partitionFiles) walk(take func(partitionFile) error) error {
	if len(c.Files) == 0 {
		return exitError{exitUsage, errors.New("name PB files, or folders that hold some")}
	}
	for _, top := range c.Files {
		root, err := archive.StoreOf(top)
		if err != nil {
			return err
		}
		err = partition.Walk(top, func(path string, what partition.Found) error {
			if what == partition.Other || what == partition.KeptAside {
				return nil
			}
			return take(partitionFile{path, root, what})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// none is the error of a command that found no file.
func (c partitionFiles) none() error {
	return fmt.Errorf("no .pb file in %s", strings.Join(c.Files, ", "))
}

// printer is where a command prints; it remembers the first failure.
type printer struct {
	out *bufio.Writer
	err error
}

func printTo(w io.Writer) *printer { return &printer{out: bufio.NewWriterSize(w, 64<<10)} }

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.out, format, args...)
	}
}

// flush gives the first failure, of printing or of this.
func (p *printer) flush() error {
	if err := p.out.Flush(); p.err == nil {
		p.err = err
	}
	return p.err
}

// meter tells a person at a terminal how far a long run is.
type meter struct {
	on    bool
	next  time.Time
	shown bool
}

func newMeter() *meter { return &meter{on: terminal(os.Stderr), next: time.Now().Add(time.Second)} }

func (m *meter) show(format string, args ...any) {
	if now := time.Now(); m.on && now.After(m.next) {
		m.next, m.shown = now.Add(500*time.Millisecond), true
		fmt.Fprintf(os.Stderr, "\r\x1b[K"+format, args...)
	}
}

// end removes the line.
func (m *meter) end() {
	if m.shown {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
		m.shown = false
	}
}
