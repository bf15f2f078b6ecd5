package archive

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pvlog/consumers/partition"
	"pvlog/schema"
	"pvlog/streams"
)

// TestARebuildFindsWhatFilesLackAndHaveTooMuch cuts a line out of a file, changes
// the value of another and adds one; a sample in the drop log is not missed, and
// what the log cannot know of is no additional one. With Write the lost one comes
// back.
func TestARebuildFindsWhatFilesLackAndHaveTooMuch(t *testing.T) {
	r := newCopyRig(t)
	r.log.add(older, double(after(time.Second), 5)) // too late: a drop
	r.merge(nil)
	r.stop()
	crash(t, r.a)
	r.start()
	r.caughtUp()
	o := Rebuild{UpTo: r.log.acked(), LogStart: after(0).Go().Add(-time.Hour),
		Log: func(each func(streams.Message) error) error {
			for _, m := range r.log.messages {
				if err := each(m); err != nil {
					return err
				}
			}
			return nil
		},
		Dropped: func(each func(streams.Position) error) error {
			for p := range r.log.drops {
				if err := each(p); err != nil {
					return err
				}
			}
			return nil
		}}
	got, err := r.a.Rebuild(t.Context(), older, o)
	if err != nil || got.There != 100 || got.Added+got.Differs+got.Additional != 0 || len(got.Findings) != 0 {
		t.Fatalf("%+v, %v, want 100 equal samples", got, err)
	}
	path := filepath.Join(r.dir, "sts", "A/OLD:2025_11_23_11.pb")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(content, []byte("\n"))
	at := after(10*90*time.Second + time.Second)
	additional := partition.AppendLine(nil, double(at, 1).Event)
	changed := partition.AppendLine(nil, double(after(15*90*time.Second), -1).Event)
	offset := 0
	for i := range lines {
		if i == 11 { // the header and samples 1 to 10
			offset = len(bytes.Join(lines[:i], nil))
		}
	}
	damaged := bytes.Join([][]byte{bytes.Join(lines[:11], nil), additional, bytes.Join(lines[11:15], nil), changed, bytes.Join(lines[16:20], nil), bytes.Join(lines[21:], nil)}, nil)
	if err := os.WriteFile(path, damaged, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, write := range []bool{false, true, false} {
		o.Write = write
		got, err = r.a.Rebuild(t.Context(), older, o)
		if err != nil {
			t.Fatal(err)
		}
		if !write && o.Since.IsZero() && got.Added+got.There+got.Differs != 100 {
			t.Errorf("%+v", got)
		}
		kinds := map[string]Difference{}
		for _, f := range got.Findings {
			kinds[f.Kind] = f
		}
		if f := kinds["additional"]; f.Time != at || f.Path != path || f.Offset != int64(offset) || got.Additional != 1 {
			t.Errorf("additional: %+v of %d, want one at byte %d", f, got.Additional, offset)
		}
		if f := kinds["differs"]; f.Time != after(15*90*time.Second) || got.Differs != 1 {
			t.Errorf("differs: %+v of %d", f, got.Differs)
		}
		if o.Until.IsZero() {
			if f := kinds["missing"]; f.Time != after(20*90*time.Second) || got.Added != 1 {
				t.Errorf("missing: %+v of %d", f, got.Added)
			}
		} else if got.Added != 0 {
			t.Errorf("after it was written %d are missing", got.Added)
		}
		if write {
			o.Until = time.Now()
		}
	}
	o.LogStart = time.Now()
	if got, err = r.a.Rebuild(t.Context(), older, o); err != nil || got.Additional != 0 {
		t.Errorf("what was received before the log begins: %+v, %v", got, err)
	}
	if _, err := r.a.Rebuild(t.Context(), "A:NONE", o); schema.CodeOf(err) != schema.NotFound {
		t.Errorf("%v", err)
	}
	r.stop()
}
