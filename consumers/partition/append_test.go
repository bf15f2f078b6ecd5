package partition

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func contents(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAppendMakesFoldersFileAndHeaderOnce_S78(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "A", "B", "C:2026.pb")
	n, dirs, err := Append(OSFS{}, path, []byte("head\n"), []byte("one\n"), 0)
	if err != nil || n != 9 || !slices.Equal(dirs, []string{root, filepath.Join(root, "A"), filepath.Join(root, "A", "B")}) {
		t.Fatalf("%d, %q, %v", n, dirs, err)
	}
	n, dirs, err = Append(OSFS{}, path, nil, []byte("two\n"), n)
	if err != nil || n != 13 || len(dirs) != 0 {
		t.Fatalf("%d, %q, %v", n, dirs, err)
	}
	if got := contents(t, path); got != "head\none\ntwo\n" {
		t.Errorf("%q", got)
	}
	n, dirs, err = Append(OSFS{}, filepath.Join(root, "A", "B", "D:2026.pb"), []byte("head\n"), []byte("x\n"), 0)
	if err != nil || n != 7 || !slices.Equal(dirs, []string{filepath.Join(root, "A", "B")}) {
		t.Errorf("a second file of a folder: %d, %q, %v", n, dirs, err)
	}
}

// TestAppendRefusesAFileOfAnotherLength: what is there beyond the length is
// unknown, what is missing is lost.
func TestAppendRefusesAFileOfAnotherLength(t *testing.T) {
	path := write(t, []byte("head\none\n"))
	for _, length := range []int64{0, 5, 10} {
		if n, _, err := Append(OSFS{}, path, []byte("head\n"), []byte("two\n"), length); err == nil || n != length || !strings.Contains(err.Error(), path) {
			t.Errorf("length %d: %d, %v", length, n, err)
		}
	}
	if got := contents(t, path); got != "head\none\n" {
		t.Errorf("%q", got)
	}
	if _, _, err := Append(OSFS{}, filepath.Join(t.TempDir(), "absent"), nil, []byte("x\n"), 5); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an absent file that should have 5 bytes: %v", err)
	}
}

// TestAppendDoesNotTouchItsArguments: header and lines may share one buffer.
func TestAppendDoesNotTouchItsArguments(t *testing.T) {
	buffer := []byte("head\none\nbehind")
	path := filepath.Join(t.TempDir(), "X:2026.pb")
	if _, _, err := Append(OSFS{}, path, buffer[:5], buffer[5:9], 0); err != nil {
		t.Fatal(err)
	}
	if string(buffer) != "head\none\nbehind" || contents(t, path) != "head\none\n" {
		t.Errorf("%q, file %q", buffer, contents(t, path))
	}
}

func TestTruncateGivesBackWhatIsBelieved(t *testing.T) {
	path := write(t, []byte("head\none\ntorn"))
	for _, length := range []int64{9, 9, 5, 0, 0} {
		if err := Truncate(OSFS{}, path, length); err != nil || int64(len(contents(t, path))) != length {
			t.Errorf("to %d: %v, %q", length, err, contents(t, path))
		}
	}
	if err := Truncate(OSFS{}, path, 3); err == nil || len(contents(t, path)) != 0 {
		t.Errorf("a file that lost bytes: %v", err)
	}
	absent := filepath.Join(t.TempDir(), "no", "X")
	if err := Truncate(OSFS{}, absent, 0); err != nil {
		t.Errorf("an absent file: %v", err)
	}
	if err := Truncate(OSFS{}, absent, 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an absent file that should have a byte: %v", err)
	}
}

// TestAnyFailingStepIsToldAndRepaired lets each step of an append fail in turn,
// then repairs as the archive does: cut to the length that was durable, write
// again.
func TestAnyFailingStepIsToldAndRepaired(t *testing.T) {
	for name, c := range map[string]struct {
		fault  Fault
		length int64 // of the file before
	}{
		"no folder":               {Fault{Op: OpMkdir, Err: syscall.EROFS}, 0},
		"no second folder":        {Fault{Op: OpMkdir, Skip: 2, Err: syscall.ENOSPC}, 0},
		"no file":                 {Fault{Op: OpOpen, Skip: 1, Err: syscall.EMFILE}, 0},
		"no space for the header": {Fault{Op: OpWrite, Err: syscall.ENOSPC}, 0},
		"half a header":           {Fault{Op: OpWrite, Err: syscall.ENOSPC, Written: 3}, 0},
		"header but half a line":  {Fault{Op: OpWrite, Err: syscall.EIO, Written: 7}, 0},
		"no open":                 {Fault{Op: OpOpen, Err: syscall.EIO}, 9},
		"no space":                {Fault{Op: OpWrite, Err: syscall.ENOSPC}, 9},
		"half a line":             {Fault{Op: OpWrite, Err: syscall.ENOSPC, Written: 2}, 9},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "A", "B", "X:2026.pb")
			ffs := NewFaultFS(OSFS{})
			want := "head\ntwo\n"
			if c.length > 0 {
				want = "head\none\ntwo\n"
				if _, _, err := Append(ffs, path, []byte("head\n"), []byte("one\n"), 0); err != nil {
					t.Fatal(err)
				}
			}
			ffs.Fail(c.fault)
			n, _, err := Append(ffs, path, []byte("head\n"), []byte("two\n"), c.length)
			if !errors.Is(err, c.fault.Err) || n != c.length {
				t.Fatalf("%d, %v, want %v", n, err, c.fault.Err)
			}
			if err := Truncate(ffs, path, c.length); err != nil {
				t.Fatal(err)
			}
			if _, _, err := Append(ffs, path, []byte("head\n"), []byte("two\n"), c.length); err != nil || contents(t, path) != want {
				t.Errorf("repaired: %v, %q", err, contents(t, path))
			}
		})
	}
}

func TestWhatIsNoPartitionIsSetAsideNotLost(t *testing.T) {
	path := write(t, []byte("garbage 1\n"))
	for i, want := range []string{path + ".damaged", path + ".damaged1"} {
		got, err := SetAside(OSFS{}, path)
		if err != nil || got != want {
			t.Fatalf("%d: %s, %v", i, got, err)
		}
		if err := os.WriteFile(path, []byte("garbage 2\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if contents(t, path+".damaged") != "garbage 1\n" || contents(t, path+".damaged1") != "garbage 2\n" {
		t.Error("the bytes are others")
	}
	ffs := NewFaultFS(OSFS{})
	ffs.Fail(Fault{Op: OpRename, Err: syscall.EACCES})
	if _, err := SetAside(ffs, path); !errors.Is(err, syscall.EACCES) {
		t.Errorf("%v", err)
	}
}

// TestWhatAPowerCutTakesComesBackAsTheCheckSays appends in rounds of which only
// some are synced, cuts the power with every kind of tear, and asks Check how
// much to believe.
func TestWhatAPowerCutTakesComesBackAsTheCheckSays(t *testing.T) {
	tears := map[string]func(string, []byte) []byte{
		"nothing":      nil,
		"everything":   func(_ string, b []byte) []byte { return b },
		"half":         func(_ string, b []byte) []byte { return b[:len(b)/2] },
		"zeros":        func(_ string, b []byte) []byte { return make([]byte, len(b)) },
		"zeros before": func(_ string, b []byte) []byte { clear(b[:len(b)/2]); return b },
	}
	file, ends := sound(6)
	for name, tear := range tears {
		for synced := range 4 { // rounds of two lines
			root := t.TempDir()
			path := filepath.Join(root, "T", "X:2026.pb")
			ffs := NewFaultFS(OSFS{})
			syncer := NewSyncer(ffs, root, true)
			length := int64(0)
			for round := range 3 {
				header, lines := file[:ends[0]], file[ends[2*round]:ends[2*round+2]]
				n, dirs, err := Append(ffs, path, header, lines, length)
				if err != nil {
					t.Fatal(err)
				}
				length = n
				if round < synced {
					if err := syncer.Sync([]string{path}, dirs); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := ffs.PowerCut(tear); err != nil {
				t.Fatal(err)
			}
			durable := 0
			if synced > 0 {
				durable = ends[2*synced]
			}
			tail, err := Check(path)
			if synced == 0 && (errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrHeader)) {
				continue // nothing was there to lose
			}
			if err != nil || tail.Length < int64(durable) || !bytes.HasPrefix(file, []byte(contents(t, path))[:tail.Length]) {
				t.Errorf("%s after %d rounds: %+v, %v, want at least %d bytes", name, synced, tail, err, durable)
			}
			if err := syncer.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
