package appliance

import (
	"context"
	"errors"
	"fmt"
)

// stage is a part that runs. Stages stop one after the other in their order
// and start in the opposite one: each may use the ones behind it all its life.
type stage struct {
	name  string
	run   func(context.Context) error
	ready <-chan struct{} // what starts later waits for it; nil: ready at once
}

// running is a started stage.
type running struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
	err    error // set before done is closed
}

// runStages runs all stages, calls started once, and waits until ctx ends or
// one of them returns; then it stops them in order and gives their errors.
func runStages(ctx context.Context, stages []stage, started func() error) error {
	all := make([]*running, len(stages)) // nil where not started
	ended := make(chan *running, len(stages))
	for i := len(stages) - 1; i >= 0; i-- {
		all[i] = start(ctx, stages[i], ended)
		if stages[i].ready == nil {
			continue
		}
		select {
		case <-stages[i].ready:
		case <-ctx.Done():
			return stop(all)
		case r := <-ended:
			return errors.Join(r.early(), stop(all))
		}
	}
	if err := started(); err != nil {
		return errors.Join(err, stop(all))
	}
	select {
	case <-ctx.Done():
		return stop(all)
	case r := <-ended:
		return errors.Join(r.early(), stop(all))
	}
}

// start runs a stage under a context of its own: the end of ctx must not stop
// them all at once.
func start(ctx context.Context, s stage, ended chan<- *running) *running {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{name: s.name, cancel: cancel, done: make(chan struct{})}
	go func() {
		r.err = s.run(own)
		close(r.done)
		ended <- r
	}()
	return r
}

// stop ends the stages in order, each before the next.
func stop(all []*running) error {
	var errs []error
	for _, r := range all {
		if r == nil {
			continue
		}
		r.cancel()
		<-r.done
		if r.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.name, r.err))
		}
	}
	return errors.Join(errs...)
}

// early is the error of a stage that ended unasked; its own is told by stop.
func (r *running) early() error {
	if r.err != nil {
		return nil
	}
	return fmt.Errorf("%s ended by itself", r.name)
}

// fault is an error of a run. A context that was cancelled because the run
// ended may be among its causes, when samples that waited for a full log are
// lost: whoever passes over cancelled contexts must not pass over that.
type fault struct{ err error }

func toldAnyway(err error) error {
	if err == nil {
		return nil
	}
	return fault{err}
}

// Error is the text of all causes.
func (f fault) Error() string { return f.err.Error() }

// Is finds any cause but context.Canceled.
func (f fault) Is(target error) bool { return target != context.Canceled && errors.Is(f.err, target) }

// As finds a cause by its type.
func (f fault) As(target any) bool { return errors.As(f.err, target) }
