package archive

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestLockFindsTheStoreAndHoldsIt(t *testing.T) {
	root := t.TempDir()
	if found, err := StoreOf(filepath.Join(root, "A")); found != "" || err != nil {
		t.Errorf("a folder in no store: %q, %v", found, err)
	}
	if err := os.MkdirAll(filepath.Join(root, "A"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{markName: "", "A/B:2026.pb": "x"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"", "A", "A/B:2026.pb", "A/absent.pb"} {
		if found, err := StoreOf(filepath.Join(root, path)); found != root || err != nil {
			t.Errorf("%q: %q, %v", path, found, err)
		}
	}
	release, err := Lock(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(root); !errors.Is(err, ErrLocked) {
		t.Errorf("locked twice: %v", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	release, err = Lock(root)
	if err != nil {
		t.Fatalf("after it was released: %v", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
}
