package streams

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// inTmpfs runs one test of this binary on a file system of 64 MB of its own,
// in a user namespace; it skips where there is none.
func inTmpfs(t *testing.T, name string) {
	t.Helper()
	dir := t.TempDir()
	child := exec.Command("sh", "-c", `mount -t tmpfs -o size=64m tmpfs "$PVLOG_LOG_TMPFS" || exit 99; exec "$0" -test.run="$1"`, os.Args[0], name)
	child.Env = append(os.Environ(), "PVLOG_LOG_TMPFS="+dir)
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := child.CombinedOutput()
	if child.ProcessState == nil || child.ProcessState.ExitCode() == 99 {
		t.Skipf("no tmpfs of one's own here: %v %s", err, out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
