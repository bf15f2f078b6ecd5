package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutantsVariable is set by `make crash-mutants`.
const mutantsVariable = "CRASH_MUTANTS"

// mutants are parts of the promise, left out of the code: the place of each, and
// the tests of which one at least has to fail without it.
var mutants = []struct {
	name, file, old, new string
	pkg, tests           string
}{
	{
		"no sync before the acknowledgement (D3)", "consumers/archive/round.go",
		"if err := a.syncer.Sync(paths, dirs); err != nil {", "if err := error(nil); err != nil {",
		"./consumers/archive", "TestNothingIsAcknowledgedBeforeItIsDurable|TestPowerCutsAndFailingSteps",
	},
	{
		"no sync of new folders (D3)", "consumers/partition/sync.go",
		"if err := s.each(s.folders(dirs)); err != nil {", "if err := error(nil); err != nil {",
		"./consumers/archive", "TestNothingIsAcknowledgedBeforeItIsDurable",
	},
	{
		"no sync of what a killed process left (D3)", "consumers/archive/round.go",
		"a.syncer.Found(path)", "_ = path",
		"./consumers/archive", "TestNothingIsAcknowledgedBeforeItIsDurable",
	},
	{
		"what a killed process left is believed (D3)", "consumers/archive/round.go",
		"if err := partition.Renew(a.opt.FS, p.path, p.from, p.to); err != nil {", "_ = p\n\t\tif err := error(nil); err != nil {",
		"./consumers/archive", "TestWhatAFailedSyncLeftIsNotBelievedByTheNextProcess",
	},
	{
		"no sync of the drop log (D6)", "consumers/archive/round.go",
		"if err := a.syncLog(); err != nil {", "if err := error(nil); err != nil {",
		"./consumers/archive", "TestNothingIsAcknowledgedBeforeItIsDurable",
	},
	{
		"no reset of the consumer (D4)", "consumers/archive/archive.go",
		"if err := a.opt.Source.Reset(ctx); err != nil {", "if err := error(nil); err != nil {",
		"./consumers/archive", "TestCrashesAtAnyStep|TestAnEndInTheMiddleOfABatch|TestAConsumerThatCannotAcknowledge",
	},
	{
		"no reset of the server's consumer (D4)", "streams/consumer.go",
		"s.js.ResetConsumer(ctx, SamplesStream, ArchiveName)", "&struct{ ResetSeq uint64 }{}, error(nil)",
		"./streams", "TestCrashedConsumerComesBackInOrder|TestResetRepeatsDeliveries",
	},
	{
		"no lookup of what is late (D2)", "consumers/archive/take.go",
		"case ok && found.Same(event):", "case ok && false && found.Same(event):",
		"./consumers/archive", "TestCrashesAtAnyStep|TestNothingIsAcknowledgedBeforeItIsDurable",
	},
	{
		"no cut of what an append left (D3)", "consumers/archive/round.go",
		"if err := partition.Truncate(a.opt.FS, path, length); err != nil {", "if err := error(nil); err != nil {",
		"./consumers/archive", "TestEachStepOfARound|TestTornTails|TestNothingIsAcknowledgedBeforeItIsDurable",
	},
	{
		"an acknowledgement beyond what is in files (D3)", "consumers/archive/round.go",
		"mark = min(mark, f.parts[0].first-1)", "_ = f",
		"./consumers/archive", "TestNothingIsAcknowledgedBeforeItIsDurable|TestANewPartitionWaits",
	},
	{
		"no check forward after an unclean end (D2)", "consumers/archive/pvfiles.go",
		"tail, err = partition.CheckFrom(path, from)", "tail, err = partition.ReadTail(path)",
		"./consumers/archive", "TestTornTails|TestNothingIsAcknowledgedBeforeItIsDurable|TestPowerCutsAndFailingSteps",
	},
}

// TestMutantsOfThePromiseAreCaught leaves each part of the promise out, in a copy
// of the code, and requires that a test fails then. That takes minutes, so only
// `make crash-mutants` does it; that each part is still found in the code is
// checked always.
func TestMutantsOfThePromiseAreCaught(t *testing.T) {
	root := repositoryRoot(t)
	for _, m := range mutants {
		text, err := os.ReadFile(filepath.Join(root, m.file))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), m.old); n != 1 {
			t.Errorf("%s: %s has %d times %q", m.name, m.file, n, m.old)
		}
	}
	if t.Failed() || os.Getenv(mutantsVariable) == "" {
		return
	}
	tree := copyTree(t, root)
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			path := filepath.Join(tree, m.file)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			mutated := strings.Replace(string(text), m.old, m.new, 1)
			if err := os.WriteFile(path, []byte(mutated), 0o644); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := os.WriteFile(path, text, 0o644); err != nil {
					t.Fatal(err)
				}
			}()
			out, err := inTree(tree, "test", "-count=1", "-failfast", "-timeout", "3m", "-run", m.tests, m.pkg)
			if err == nil || strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]") {
				t.Fatalf("no test of %s failed: %v\n%.2000s", m.tests, err, out)
			}
			t.Logf("caught:\n%.600s", out)
		})
	}
}

// inTree runs the go command in a copy of the code.
func inTree(tree string, args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = tree
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// copyTree copies the code of the repository.
func copyTree(t *testing.T, root string) string {
	t.Helper()
	tree := t.TempDir()
	list := exec.Command("git", "ls-files", "-co", "--exclude-standard")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatalf("list files: %v", err)
	}
	for name := range strings.Lines(string(out)) {
		name = strings.TrimSuffix(name, "\n")
		b, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) {
			continue
		}
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(tree, name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(tree, name), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return tree
}
