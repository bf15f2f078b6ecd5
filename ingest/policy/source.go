package policy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"pvlog/schema"
)

// settled is the age from which a file's time of change tells two contents
// apart: clocks of file systems are coarse, and a file that was written twice
// within one tick has the same time, and may have the same size.
const settled = 2 * time.Second

// Options say which file a [Source] follows.
type Options struct {
	// Path of the policy file; "" stands for the policies of [Default].
	Path string
	// Interval between looks at the file; 0 is 3 s.
	Interval time.Duration
	// Env is the environment that a policies.py sees; nil: none.
	Env Env
}

// Source reads a policy file and follows its changes. A file that became
// wrong, or vanished, leaves the policies in force that were, and the error
// is told by Fault until a look finds it right. All methods may be called from
// any goroutine.
type Source struct {
	options Options       // set by New
	changed chan struct{} // set by New; holds at most one change

	reading sync.Mutex // one reads at a time; guards what follows
	seen    os.FileInfo
	glimpse os.FileInfo // of a change that is read once a look finds it unchanged
	early   bool        // seen was so young that it may have changed since
	text    []byte      // last read, right or wrong

	mu      sync.Mutex // guards what follows
	current *Policies
	fault   error
}

// New prepares a source; it reads nothing.
func New(o Options) *Source {
	if o.Interval <= 0 {
		o.Interval = 3 * time.Second
	}
	return &Source{options: o, changed: make(chan struct{}, 1)}
}

// Current gives the policies in force: nil until a file was read and right.
func (s *Source) Current() *Policies {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// Fault gives what is wrong with the file as it stands, nil where Current is
// what it says. The error names file, line and column where there is one.
func (s *Source) Fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// Changed receives after Current became another; changes that nobody received
// are one. It is for one receiver.
func (s *Source) Changed() <-chan struct{} { return s.changed }

// Run looks at the file each interval until ctx ends, beginning at once.
func (s *Source) Run(ctx context.Context) error {
	tick := time.NewTicker(s.options.Interval)
	defer tick.Stop()
	for {
		s.look(false) // what is wrong is told by Fault
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Reload reads the file now, whatever its time of change says, and gives its
// fault. It does not need Run.
func (s *Source) Reload() error { return s.look(true) }

// look reads the file where it may have changed.
func (s *Source) look(always bool) error {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.options.Path == "" {
		return s.lookDefault()
	}
	text, fresh, err := s.read(always)
	if err != nil {
		s.seen = nil // look again, whatever its time says
		return s.settle(nil, fmt.Errorf("read policies: %w", err))
	}
	if !fresh || s.text != nil && bytes.Equal(text, s.text) && s.unread() == nil {
		return s.Fault()
	}
	s.text = text
	p, err := ParseWith(s.options.Path, text, s.options.Env)
	return s.settle(p, err)
}

// unread gives a fault of reading, which the same text as before heals.
func (s *Source) unread() error {
	if err := s.Fault(); schema.CodeOf(err) != schema.Invalid {
		return err
	}
	return nil
}

func (s *Source) lookDefault() error {
	if s.Current() != nil {
		return nil
	}
	return s.settle(Default())
}

// read gives the file's text where it is not the one that was seen.
func (s *Source) read(always bool) (text []byte, fresh bool, err error) {
	info, err := os.Stat(s.options.Path)
	if err != nil {
		return nil, false, err
	}
	if !info.Mode().IsRegular() { // a pipe would be waited for
		return nil, false, fmt.Errorf("%s is no file", s.options.Path)
	}
	if !always && s.seen != nil && (s.unwritten(info) || !s.early && unchanged(info, s.seen)) {
		return nil, false, nil
	}
	f, err := os.Open(s.options.Path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	text, err = io.ReadAll(io.LimitReader(f, maxText+1))
	if err != nil {
		return nil, false, err
	}
	s.seen, s.early = info, time.Since(info.ModTime()) < settled
	return text, true, nil
}

// unwritten reports whether a file may still be being written: it is another
// than the one that was read, and another than at the last look.
func (s *Source) unwritten(info os.FileInfo) bool {
	last := s.glimpse
	s.glimpse = info
	return !unchanged(info, s.seen) && (last == nil || !unchanged(info, last))
}

func unchanged(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// settle takes policies in force, or keeps those that were and the fault.
func (s *Source) settle(p *Policies, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = err
	if err != nil || s.current != nil && bytes.Equal(s.current.text, p.text) {
		return err
	}
	s.current = p
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return nil
}
