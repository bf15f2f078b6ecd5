package archive

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// sts gives the partitions of the rig's PV, which must be written.
func (r *copyRig) sts() []partition.File {
	r.t.Helper()
	files, err := partition.List(r.a.opt.Store.Root, schema.ChunkKey(older), hour)
	if err != nil || len(files) != 4 {
		r.t.Fatalf("%d files, %v", len(files), err)
	}
	return files
}

// repair repairs as soon as the archive can.
func (r *copyRig) repair(dry bool) []*partition.Repair {
	r.t.Helper()
	for {
		r.caughtUp()
		done, err := r.a.Repair(r.t.Context(), older, RepairOptions{DryRun: dry})
		if err == nil {
			return done
		}
		if schema.CodeOf(err) != schema.Unavailable {
			r.t.Fatal(err)
		}
	}
}

func needed(all []*partition.Repair) (n int) {
	for _, r := range all {
		if r.Needed() {
			n++
		}
	}
	return n
}

// rewrite changes a file's bytes.
func (r *copyRig) rewrite(path string, change func([]byte) []byte) {
	r.t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(b), 0o644)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// TestRepairWorksUnderTheArchive damages a closed file and the one that is
// being written, and goes on writing after the repair.
func TestRepairWorksUnderTheArchive(t *testing.T) {
	r := newCopyRig(t)
	r.caughtUp()
	if n := needed(r.repair(false)); n != 0 {
		t.Fatalf("%d sound files needed repair", n)
	}
	files := r.sts()
	early := after(10 * time.Minute)
	r.rewrite(files[1].Path, func(b []byte) []byte { return partition.AppendLine(b, double(early, 6.5).Event) })
	r.rewrite(files[3].Path, func(b []byte) []byte { // its last but one line
		end := bytes.LastIndexByte(b[:len(b)-1], '\n')
		copy(b[end-10:end], "0123456789")
		return b
	})
	checked, err := r.a.Verify(t.Context(), older, 5)
	if err != nil || len(checked) != 4 {
		t.Fatalf("%d files, %v", len(checked), err)
	}
	for i, c := range checked {
		if want := i == 0 || i == 2; c.Report.Sound() != want || c.Store != "STS" || (len(c.Problems) == 0) != want {
			t.Errorf("file %d: sound %v: %+v", i, c.Report.Sound(), c.Problems)
		}
	}
	before := r.tree()
	if n := needed(r.repair(true)); n != 2 {
		t.Errorf("a dry run would repair %d files", n)
	}
	for path, content := range r.tree() {
		if before[path] != content {
			t.Errorf("a dry run changed %s", path)
		}
	}
	done := r.repair(false)
	if needed(done) != 2 || done[1].Sorted != 1 && done[1].SetAside+done[1].Duplicates != 1 {
		t.Errorf("repaired: %+v", done[1])
	}
	if n := needed(r.repair(false)); n != 0 {
		t.Errorf("a second repair changes %d files", n)
	}
	r.log.add(older, double(after(150*time.Minute), 100))
	r.stop()
	found := 0
	for _, s := range read(t, r.dir, older) { // which fails on a file that is not sound
		if s.at == after(150*time.Minute) {
			found++
		}
	}
	if found != 1 {
		t.Errorf("the sample after the repair is there %d times", found)
	}
	backups := 0
	for path := range r.tree() {
		if strings.HasSuffix(path, ".pb.bak") {
			backups++
		}
	}
	if backups != 2 {
		t.Errorf("%d backups", backups)
	}
}

func TestRepairIsRefusedWhileFilesAreCopied(t *testing.T) {
	r := newCopyRig(t)
	release, err := r.a.hold(older)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if _, err := r.a.Repair(t.Context(), older, RepairOptions{}); schema.CodeOf(err) != schema.Conflict {
		t.Errorf("%v, want a conflict", err)
	}
}
