package archive

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// TestTheTrashTakesNoPVThatIsArchivedAgain lets somebody archive a PV again
// between its deletion and the move of its files: the new registration's
// samples must stay.
func TestTheTrashTakesNoPVThatIsArchivedAgain(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 5)
	log.add("P", double(after(0), 1))
	a := open(t, dir, log)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	bin, err := a.Trash(t.Context(), "P", time.Unix(0, 0))
	if e, ok := errors.AsType[*schema.Error](err); !ok || e.Code != schema.Conflict || bin != "" {
		t.Errorf("Trash gave %q, %v; want a conflict", bin, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir, "P"); len(got) != 1 {
		t.Errorf("%d samples are left, want 1", len(got))
	}
}

// TestAskingAnArchiveThatHasEndedIsAnError does not wait for a context that
// may never end.
func TestAskingAnArchiveThatHasEndedIsAnError(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 5)
	a := open(t, dir, log)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Trash(context.WithoutCancel(ctx), "P", time.Unix(0, 0)); err == nil {
		t.Error("Trash of an archive that has ended gave no error")
	}
}

// TestAskingAnArchiveThatCannotWriteEnds keeps a request from holding its
// caller, and with it the end of the process, as long as a fault lasts.
func TestAskingAnArchiveThatCannotWriteEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, log := t.TempDir(), newMemLog(t, 5)
		files := partition.NewFaultFS(partition.OSFS{})
		files.Fail(partition.Fault{Op: partition.OpWrite, Err: syscall.ENOSPC, Lasting: true})
		log.add("P", double(after(0), 1))
		a := open(t, dir, log, func(o *Options) { o.FS = files })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		synctest.Wait()
		_, err := a.Trash(context.WithoutCancel(ctx), "P", time.Unix(0, 0))
		if schema.CodeOf(err) != schema.Unavailable || !strings.Contains(err.Error(), "no space") {
			t.Errorf("Trash gave %v, want that the archive cannot write", err)
		}
		cancel()
		if err := <-done; err == nil {
			t.Error("the end on a full disk gave no error")
		}
	})
}
