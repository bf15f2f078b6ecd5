package simioc

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"pvlog/ingest/ca"
)

// Scenario is one or several IOCs and what happens to them: the script of a
// test or a demo. SCENARIO.md says what a file may hold.
type Scenario struct {
	// Logger hears of the steps and of the IOCs; nil = discard. It is set
	// before Listen.
	Logger *slog.Logger

	hosts     []*host
	steps     []*step
	changes   map[string][]kind // what records become by steps, by name
	listening bool
	ready     <-chan struct{} // the steps begin when it is closed; nil is at once
}

// ReadScenario reads a scenario file (YAML). An error says which line and key
// is wrong, and what would be right.
func ReadScenario(data []byte) (*Scenario, error) {
	if len(data) > maxScenarioBytes {
		return nil, fmt.Errorf("scenario: the file has %d bytes, %d are allowed", len(data), maxScenarioBytes)
	}
	f, parsed, err := parseScenario(data)
	if err != nil {
		return nil, err
	}
	var s Scenario
	if err := s.build(f); err != nil {
		return nil, located(err, parsed)
	}
	return &s, nil
}

func (s *Scenario) build(f *scenarioFile) error {
	switch {
	case len(f.IOCs) == 0 || len(f.IOCs) > maxIOCs:
		return wrong("iocs", "%d IOCs, 1 to %d are possible", len(f.IOCs), maxIOCs)
	case len(f.Steps) > maxSteps:
		return wrong("steps", "%d steps, %d are possible", len(f.Steps), maxSteps)
	}
	room := maxRecords
	for i := range f.IOCs {
		path := fmt.Sprintf("iocs[%d]", i)
		if f.IOCs[i].Name == "" {
			f.IOCs[i].Name = fmt.Sprintf("ioc%d", i+1)
		}
		h, err := f.IOCs[i].host(path, room)
		if err != nil {
			return err
		}
		if s.host(h.name) != nil {
			return wrong(path+".name", "two IOCs are named %q", h.name)
		}
		room -= len(h.opts.Records)
		s.hosts = append(s.hosts, h)
	}
	s.changes = make(map[string][]kind)
	for _, step := range f.Steps {
		if c := step.Change; c != nil {
			t := max(slices.Index(typeNames, c.Type), 0) // a wrong one is an error of the step
			s.changes[c.Record] = append(s.changes[c.Record], kind{native: ca.DBR(t), count: max(c.Count, naturalCount(ca.DBR(t), c.Value))})
		}
	}
	for i := range f.Steps {
		step, err := s.step(fmt.Sprintf("steps[%d]", i), &f.Steps[i])
		if err != nil {
			return err
		}
		s.steps = append(s.steps, step)
	}
	return nil
}

func (s *Scenario) host(name string) *host {
	for _, h := range s.hosts {
		if h.name == name {
			return h
		}
	}
	return nil
}

// Listen binds the sockets of all IOCs, so that Addrs are known.
func (s *Scenario) Listen() error {
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	for i, h := range s.hosts {
		h.opts.Logger = s.Logger.With("ioc", h.name)
		if err := h.listen(); err != nil {
			s.unbind(i)
			return fmt.Errorf("IOC %q: %w", h.name, err)
		}
	}
	s.listening = true
	return nil
}

// unbind closes the sockets of the first n IOCs.
func (s *Scenario) unbind(n int) {
	for _, h := range s.hosts[:n] {
		h.ioc.close()
	}
}

// Addrs are the "host:port" to search at, one for each IOC.
func (s *Scenario) Addrs() []string {
	var addrs []string
	for _, h := range s.hosts {
		h.mu.Lock()
		addrs = append(addrs, h.opts.Listen)
		h.mu.Unlock()
	}
	return addrs
}

// Names are the full names of all records in the order of the file; one that
// two IOCs serve comes twice.
func (s *Scenario) Names() []string {
	var names []string
	for _, h := range s.hosts {
		for _, r := range h.opts.Records {
			names = append(names, h.opts.Prefix+r.Name)
		}
	}
	return names
}

// IOC is the IOC of a name as it runs now: after a restart it is another one.
// nil: there is none of that name, or Listen was not called.
func (s *Scenario) IOC(name string) *IOC {
	h := s.host(name)
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ioc
}

// Run serves all IOCs and does the steps in their time, counted from now. It
// returns when ctx ends, when all IOCs were stopped by a step, or when one
// cannot start again. It binds the sockets if Listen was not called.
func (s *Scenario) Run(ctx context.Context) error {
	if !s.listening {
		if err := s.Listen(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, len(s.hosts))
	for _, h := range s.hosts {
		h.begin(ctx)
		go func() { errs <- h.run(ctx) }()
	}
	var script sync.WaitGroup
	script.Go(func() { (&timeline{log: s.Logger}).run(ctx, s.ready, s.steps) })
	var first error
	for range s.hosts {
		if err := <-errs; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	cancel()
	script.Wait()
	return first
}
