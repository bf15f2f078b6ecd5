package registry

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// keep gives a registry's folder with a table in it, as a clean end leaves it.
func keep(t *testing.T, log *memLog) (dir string, want map[string]string) {
	t.Helper()
	dir = t.TempDir()
	r := start(t, dir, log)
	want = r.contents()
	r.stop()
	return dir, want
}

// drop gives a registry's folder with a memory table in it, as a kill leaves it.
func drop(t *testing.T, log *memLog) (dir string, want map[string]string) {
	t.Helper()
	dir = t.TempDir()
	r := start(t, t.TempDir(), log)
	copyTree(t, r.opt.Dir, dir)
	return dir, r.contents()
}

// healed opens the folder and fails unless the state is right in the end.
func healed(t *testing.T, dir string, log *memLog, want map[string]string) *rig {
	t.Helper()
	r := start(t, dir, log)
	r.verified()
	if !maps.Equal(r.contents(), want) {
		t.Fatal("other contents than before the damage")
	}
	return r
}

func asides(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "damaged-*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

var damages = map[string]func([]byte) []byte{
	"missing": nil,
	"empty":   func([]byte) []byte { return nil },
	"flipped": func(b []byte) []byte {
		random := rand.New(rand.NewPCG(uint64(len(b)), 3))
		end := max(1, len(bytes.TrimRight(b, "\x00"))) // of what is in use
		for range min(len(b), 20) {
			b[random.IntN(end)] ^= 0x55
		}
		return b
	},
	"truncated":        func(b []byte) []byte { return b[:len(bytes.TrimRight(b, "\x00"))/2] },
	"zeroed":           func(b []byte) []byte { return make([]byte, len(b)) },
	"garbage appended": func(b []byte) []byte { return append(b, "garbage, and more of it"...) },
}

// Whatever happens to a file of Badger, the state is right after the next
// start.
func TestDamagedFolderIsRebuilt(t *testing.T) {
	log := history(events)
	closed, want := keep(t, log)
	killed, sameWant := drop(t, log)
	if !maps.Equal(want, sameWant) {
		t.Fatal("the two folders differ")
	}
	for folder, patterns := range map[string][]string{closed: {"*.sst", "MANIFEST", "KEYREGISTRY", "DISCARD", "*.vlog"}, killed: {"*.mem"}} {
		for _, pattern := range patterns {
			files, err := filepath.Glob(filepath.Join(folder, "badger", pattern))
			if err != nil || len(files) == 0 {
				t.Fatalf("files %s: %v, %v", pattern, files, err)
			}
			for name, damage := range damages {
				if damage == nil || pattern == "*.sst" || pattern == "*.mem" || name == "flipped" {
					t.Run(filepath.Base(files[0])+"/"+name, func(t *testing.T) { damaged(t, folder, files[0], damage, log, want) })
				}
			}
		}
	}
}

func damaged(t *testing.T, folder, file string, damage func([]byte) []byte, log *memLog, want map[string]string) {
	hurt := t.TempDir()
	copyTree(t, folder, hurt)
	path := filepath.Join(hurt, "badger", filepath.Base(file))
	err := os.Remove(path)
	if err == nil && damage != nil {
		err = os.WriteFile(path, damage(read(t, file)), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	openInChild(t, hurt)
	healed(t, hurt, log, want)
}

// openInChild opens the folder in another process first: some damage makes
// Badger end the process, and the next start has to go on from there.
func openInChild(t *testing.T, dir string) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestOpenInChild$")
	child.Env = append(os.Environ(), "PVLOG_REGISTRY_OPEN="+dir)
	if out, err := child.CombinedOutput(); err != nil {
		t.Logf("badger ended the process: %.200s", out)
		if _, err := os.Stat(filepath.Join(dir, "opening")); err != nil {
			t.Errorf("the next start would not know: %v", err)
		}
	}
}

func TestOpenInChild(t *testing.T) {
	dir := os.Getenv("PVLOG_REGISTRY_OPEN")
	if dir == "" {
		t.Skip("for TestDamagedFolderIsRebuilt")
	}
	open(t, dir, history(events))
	os.Exit(0) // Badger leaves goroutines behind when it could not open
}

// Records of another version, strange entries or a wrong sum are damage, too.
func TestWrongContentsAreRebuilt(t *testing.T) {
	tests := map[string]func(*rig) (map[schema.PVName][]byte, meta){
		"record is none": func(r *rig) (map[schema.PVName][]byte, meta) {
			return map[schema.PVName][]byte{"H:1": {encodingVersion, 0xff}}, r.meta
		},
		"record is empty": func(r *rig) (map[schema.PVName][]byte, meta) {
			return map[schema.PVName][]byte{"H:1": nil}, r.meta
		},
		"record of the JSON format": func(r *rig) (map[schema.PVName][]byte, meta) {
			return map[schema.PVName][]byte{"H:1": []byte(`{"v":2,"seq":5}`)}, r.meta
		},
		"record with a field of a newer version": func(r *rig) (map[schema.PVName][]byte, meta) {
			return map[schema.PVName][]byte{"H:1": appendNumber([]byte{encodingVersion}, 99, 1)}, r.meta
		},
		"record differs": func(r *rig) (map[schema.PVName][]byte, meta) {
			return map[schema.PVName][]byte{"H:1": appendNumber([]byte{encodingVersion}, recordSequence, 5)}, r.meta
		},
		"cursor of another version": func(r *rig) (map[schema.PVName][]byte, meta) {
			return nil, meta{Version: encodingVersion - 1, Cursor: 1}
		},
		"one record more":     func(r *rig) (map[schema.PVName][]byte, meta) { m := r.meta; m.Records++; return nil, m },
		"cursor lost":         func(r *rig) (map[schema.PVName][]byte, meta) { return nil, meta{Version: encodingVersion} },
		"another log's event": func(r *rig) (map[schema.PVName][]byte, meta) { m := r.meta; m.Event++; return nil, m },
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			log := history(700)
			dir := t.TempDir()
			r := start(t, dir, log)
			want := r.contents()
			if err := r.store.commit(damage(r)); err != nil {
				t.Fatal(err)
			}
			r.stop()
			r = healed(t, dir, log, want)
			if len(asides(t, dir)) != 1 || !r.log.has("moved aside") {
				t.Error("it was not moved aside")
			}
			if _, err := os.Stat(r.openingFile()); err == nil {
				t.Error("the note of the opening is left")
			}
		})
	}
}

// The log lost its tail: what was learned from it is not true any more. The
// PVs concerned are named.
func TestCursorBeyondTheLogIsRebuilt(t *testing.T) {
	dir, log := t.TempDir(), newMemLog()
	r := start(t, dir, log)
	r.archive("T:1", "T:2")
	want := r.contents()
	r.archive("T:3")
	ok(t, r.Pause(ctx, operator, "T:1"))
	r.stop()
	log.cut(2)
	r = healed(t, dir, log, want)
	if !r.log.has("the log has lost its newest events, of T:1 T:3") || len(asides(t, dir)) != 1 {
		t.Errorf("log: %s", r.log.text.String())
	}
	r.archive("T:3")
	r.verified()
}

// The same while it runs: the follower begins anew by itself.
func TestLogThatLosesItsTailWhileFollowed(t *testing.T) {
	dir, log := t.TempDir(), newMemLog()
	r := start(t, dir, log)
	r.archive("T:1", "T:2", "T:3")
	log.cut(1)
	restarted := make(chan struct{})
	first := true
	log.beforeApply = func(uint64) error {
		if first {
			first = false
			close(restarted)
			return io.ErrUnexpectedEOF
		}
		return nil
	}
	for range 3 { // more events, until the follower at 4 hears one and fails
		log.mu.Lock()
		log.write(&logpb.RegistryEvent{Pv: "T:4", What: &logpb.RegistryEvent_Requested{Requested: &logpb.PVRequested{}}})
		log.mu.Unlock()
	}
	<-restarted
	log.cut(2)
	for r.Cursor() != 2 {
		r.mu.RLock()
		changed := r.changed
		r.mu.RUnlock()
		if r.Cursor() != 2 {
			<-changed
		}
	}
	if got := fmt.Sprint(r.Match("", 0)); got != "[T:1 T:4]" {
		t.Errorf("registered are %s", got)
	}
	r.verified()
}

func TestInterruptedOpeningIsRebuilt(t *testing.T) {
	log := history(700)
	dir, want := keep(t, log)
	if err := os.WriteFile(filepath.Join(dir, "opening"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r := healed(t, dir, log, want)
	if len(asides(t, dir)) != 1 || !r.log.has("ended while it was opened") {
		t.Error("it was not moved aside")
	}
}

func TestSecondRegistryOfAFolderIsRefused(t *testing.T) {
	dir, log := t.TempDir(), newMemLog()
	r := start(t, dir, log)
	r.archive("S:1")
	second := New(Options{Dir: dir, Events: log})
	if err := second.Open(ctx); err == nil || !strings.Contains(err.Error(), "another pvlog uses it") {
		t.Errorf("second: %v", err)
	}
	r.archive("S:2")
	r.verified()
}

const events = 900 // of the damaged folders

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// copyTree copies without the reserve file, which is large.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(to, "badger"), 0o755); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(from, "badger", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(to, "badger", filepath.Base(f)), read(t, f), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
