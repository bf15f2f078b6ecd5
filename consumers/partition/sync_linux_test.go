package partition

import (
	"path/filepath"
	"slices"
	"testing"
)

func TestSyncfsIsBelievedFromLinux58On(t *testing.T) {
	for release, want := range map[string]bool{
		"5.8.0": true, "5.7.19-generic": false, "5.10.0-8-amd64": true, "6.18.44-fc": true, "4.19.0": false,
		"3.10.0-1160.el7.x86_64": false, "10.0": true, "": false, "unknown": false,
	} {
		if got := reports(release); got != want {
			t.Errorf("%q: %v", release, got)
		}
	}
}

func TestFilesOfAnotherFileSystemAreLeftOver(t *testing.T) {
	root := t.TempDir()
	own, other := filepath.Join(root, "X"), "/proc/self/stat"
	if left := elsewhere(root, []string{own, other, own}); !slices.Equal(left, []string{other}) {
		t.Errorf("%q", left)
	}
	if left := elsewhere(filepath.Join(root, "absent"), []string{own}); !slices.Equal(left, []string{own}) {
		t.Errorf("an unknown root: %q", left)
	}
}
