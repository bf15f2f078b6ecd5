package streams

import "testing"

// TestALogStartsWhateverIsFree: its limits were planned on a file system with
// ample room, and are planned again on one that others have filled. What it
// holds stays, and it stores.
func TestALogStartsWhateverIsFree(t *testing.T) {
	dir := t.TempDir()
	open := func(free int64) *Log {
		t.Helper()
		l := New(Options{Dir: dir})
		l.space = func(string) (int64, int64, error) { return 1 << 40, free, nil }
		if err := l.Open(t.Context()); err != nil {
			t.Fatalf("with %s free: %v", bytesText(free), err)
		}
		t.Cleanup(func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
		return l
	}
	for i, free := range []int64{1 << 39, 1 << 30, 100 << 20, 9 << 20, 1 << 20, 0, 1 << 38} {
		l := open(free)
		publish(t, l, encoded("PV", sampleOf(i)))
		state, err := l.State(t.Context())
		if err != nil || state.Samples.Messages != uint64(i+1) || len(l.Problems()) > 0 {
			t.Errorf("with %s free: %d messages, problems %v, %v", bytesText(free), state.Samples.Messages, l.Problems(), err)
		}
		if most := max(free/2, minStore) + 1<<20; state.Samples.Limit > most || state.Samples.Limit < minStore {
			t.Errorf("with %s free the limit is %s", bytesText(free), bytesText(state.Samples.Limit))
		}
		if i == 3 { // the keeper starts a server as Open does
			l.restart(t.Context(), always)
			if state, err := l.State(t.Context()); err != nil || state.Samples.Messages != uint64(i+1) {
				t.Errorf("after a restart: %d messages, %v", state.Samples.Messages, err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
