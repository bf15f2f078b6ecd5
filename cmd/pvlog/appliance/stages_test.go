package appliance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// journal notes what happens in which order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) note(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

// part is a stage that runs until it is cancelled and then gives err.
func (j *journal) part(name string, err error) stage {
	return stage{name: name, run: func(ctx context.Context) error {
		<-ctx.Done()
		j.note("stop " + name)
		return err
	}}
}

func TestStagesStopOneAfterTheOtherInTheirOrder(t *testing.T) {
	var j journal
	ctx, cancel := context.WithCancel(t.Context())
	stages := []stage{j.part("web", nil), j.part("engine", nil), j.part("log", nil), j.part("archive", nil)}
	err := runStages(ctx, stages, func() error {
		j.note("started")
		cancel()
		return nil
	})
	want := []string{"started", "stop web", "stop engine", "stop log", "stop archive"}
	if err != nil || !slices.Equal(j.lines, want) {
		t.Errorf("%v, %q, want %q", err, j.lines, want)
	}
}

func TestWhatStartsLaterWaitsUntilTheStageBehindIsReady(t *testing.T) {
	var j journal
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan struct{})
	registry := stage{name: "registry", ready: ready, run: func(ctx context.Context) error {
		j.note("registry caught up")
		close(ready)
		<-ctx.Done()
		return nil
	}}
	web := stage{name: "web", run: func(ctx context.Context) error {
		j.note("web runs")
		<-ctx.Done()
		return nil
	}}
	err := runStages(ctx, []stage{web, registry}, func() error { cancel(); return nil })
	if err != nil || len(j.lines) != 2 || j.lines[0] != "registry caught up" {
		t.Errorf("%v, %q", err, j.lines)
	}
}

func TestAnEndOfOneStageEndsAllAndIsAnError(t *testing.T) {
	broken := errors.New("disk on fire")
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"by itself":     {nil, "log ended by itself"},
		"with an error": {broken, "log: disk on fire"},
	} {
		t.Run(name, func(t *testing.T) {
			var j journal
			stages := []stage{j.part("web", nil), {name: "log", run: func(context.Context) error { return test.err }}, j.part("archive", nil)}
			err := runStages(t.Context(), stages, func() error { return nil })
			if err == nil || err.Error() != test.want || test.err != nil && !errors.Is(err, test.err) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if !slices.Equal(j.lines, []string{"stop web", "stop archive"}) {
				t.Errorf("stopped %q", j.lines)
			}
		})
	}
}

func TestEveryStagesErrorAtTheEndIsTold(t *testing.T) {
	var j journal
	ctx, cancel := context.WithCancel(t.Context())
	err := runStages(ctx, []stage{j.part("log", errors.New("full")), j.part("archive", errors.New("read-only"))}, func() error { cancel(); return nil })
	if err == nil || !strings.Contains(err.Error(), "log: full") || !strings.Contains(err.Error(), "archive: read-only") {
		t.Errorf("got %v", err)
	}
}

// TestAStartThatFailsStopsWhatRunsAlready covers the three ways in which a
// start can fail.
func TestAStartThatFailsStopsWhatRunsAlready(t *testing.T) {
	never := make(chan struct{})
	waiting := func(j *journal, err error) []stage {
		last := stage{name: "registry", ready: never, run: func(ctx context.Context) error {
			if err != nil {
				return err
			}
			<-ctx.Done()
			j.note("stop registry")
			return nil
		}}
		return []stage{j.part("web", nil), last}
	}
	t.Run("the signal comes first", func(t *testing.T) {
		var j journal
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := runStages(ctx, waiting(&j, nil), func() error { t.Error("it was announced"); return nil })
		if err != nil || !slices.Equal(j.lines, []string{"stop registry"}) {
			t.Errorf("%v, %q", err, j.lines)
		}
	})
	t.Run("a stage ends before it is ready", func(t *testing.T) {
		var j journal
		err := runStages(t.Context(), waiting(&j, errors.New("bad event")), func() error { t.Error("it was announced"); return nil })
		if err == nil || err.Error() != "registry: bad event" || len(j.lines) != 0 {
			t.Errorf("%v, %q", err, j.lines)
		}
	})
	t.Run("the announcement fails", func(t *testing.T) {
		var j journal
		err := runStages(t.Context(), []stage{j.part("web", nil), j.part("log", nil)}, func() error { return errors.New("no space") })
		if err == nil || err.Error() != "no space" || !slices.Equal(j.lines, []string{"stop web", "stop log"}) {
			t.Errorf("%v, %q", err, j.lines)
		}
	})
}

// TestAFaultIsToldThoughAContextWasCancelledToo keeps the loss of samples that
// waited for a full log from passing for an ordinary end.
func TestAFaultIsToldThoughAContextWasCancelledToo(t *testing.T) {
	full := errors.New("the log is full")
	err := toldAnyway(fmt.Errorf("3 samples are lost: %w", errors.Join(context.Canceled, full)))
	if errors.Is(err, context.Canceled) || !errors.Is(err, full) || !strings.Contains(err.Error(), "3 samples are lost") {
		t.Errorf("got %v", err)
	}
	if toldAnyway(nil) != nil {
		t.Error("no error is a fault")
	}
}
