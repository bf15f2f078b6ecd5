package streams

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"pvlog/schema"
)

// TestSecondProcessIsRefused opens the same directory from a child process and
// from this one.
func TestSecondProcessIsRefused(t *testing.T) {
	const variable = "PVLOG_TEST_OPEN"
	if dir := os.Getenv(variable); dir != "" {
		err := New(Options{Dir: dir, LimitBytes: 64 << 20}).Open(t.Context())
		fmt.Printf("%s|%v\n", schema.CodeOf(err), err)
		os.Exit(0)
	}
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir})
	child := exec.Command(os.Args[0], "-test.run=^TestSecondProcessIsRefused$")
	child.Env = append(os.Environ(), variable+"="+dir)
	out, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := fmt.Sprintf("process %d", os.Getpid())
	if !strings.HasPrefix(string(out), string(schema.Conflict)+"|") || !strings.Contains(string(out), want) || !strings.Contains(string(out), dir) {
		t.Errorf("a second process got %s", out)
	}
	if err := New(Options{Dir: dir, LimitBytes: 64 << 20}).Open(t.Context()); schema.CodeOf(err) != schema.Conflict {
		t.Errorf("a second Open got %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	openLog(t, Options{Dir: dir})
}

func TestOpenRefusesWrongOptions(t *testing.T) {
	dir := t.TempDir()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for name, c := range map[string]struct {
		opt  Options
		code schema.Code
		text string
	}{
		"no directory":       {Options{}, schema.Invalid, "directory"},
		"durability":         {Options{Dir: dir, Durability: "never"}, schema.Invalid, "flush, async or always"},
		"limit below keep":   {Options{Dir: dir, MaxBytes: 64 << 20, LimitBytes: 80 << 20}, schema.Invalid, "1.5 times"},
		"tiny limit":         {Options{Dir: dir, LimitBytes: 1000}, schema.Unavailable, "at least"},
		"message bytes":      {Options{Dir: dir, MessageBytes: 1 << 30}, schema.Invalid, "message_bytes"},
		"negative":           {Options{Dir: dir, Keep: -1}, schema.Invalid, "negative"},
		"address":            {Options{Dir: dir, LimitBytes: 64 << 20, Listen: "nowhere"}, schema.Invalid, "host:port"},
		"port":               {Options{Dir: dir, LimitBytes: 64 << 20, Listen: "127.0.0.1:99999"}, schema.Invalid, "65535"},
		"taken":              {Options{Dir: dir, LimitBytes: 64 << 20, Listen: taken.Addr().String()}, schema.Unavailable, "--nats"},
		"more than the disk": {Options{Dir: "/proc/pvlog"}, schema.Internal, "directory"},
	} {
		l := New(c.opt)
		err := l.Open(t.Context())
		if schema.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: code %q, %v", name, schema.CodeOf(err), err)
		}
		if err := l.Close(); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
	}
	openLog(t, Options{Dir: dir}) // none of them kept the lock
}

func TestPlanLimits(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		opt        Options
		size, free int64
		want       limits
		has        standing
		bad        bool
	}{
		"a terabyte half free": {Options{}, 1 << 40, 1 << 39, limits{keep: 183251937962, limit: 1 << 38, drops: maxDropBytes, dropsLimit: maxDropBytes / 4 * 5, store: 1<<38 + maxDropBytes/4*5 + 1<<39/10}, nil, false},
		"64 MiB":               {Options{}, 64 * mib, 60 * mib, limits{keep: 64 * mib / 5, limit: 30 * mib, drops: 3 * mib, dropsLimit: 15 * mib / 4, store: 36*mib + 15*mib/4}, nil, false},
		"given":                {Options{MaxBytes: 100, LimitBytes: 10 * mib, DropsMaxBytes: 2 * mib}, 1 << 30, 1 << 30, limits{100, 10 * mib, 2 * mib, 5 * mib / 2, 10*mib + 5*mib/2 + (1<<30)/10}, nil, false},
		"keep given":           {Options{MaxBytes: 100 * mib}, 120 * mib, 110 * mib, limits{100 * mib, 150 * mib, 110 * mib / 20, 110*mib/20 + 110*mib/20/4, 150*mib + 110*mib/20 + 110*mib/20/4 + 11*mib}, nil, false},
		"no room":              {Options{}, 64 * mib, 6 * mib, limits{}, nil, true},
		"limit below 1.5 keep": {Options{MaxBytes: 100 * mib, LimitBytes: 149 * mib}, 1 << 30, 1 << 30, limits{}, nil, true},
		"others took the room": {Options{}, 1 << 30, 100 * mib, limits{100 * mib / 2 / 3 * 2, 84 * mib, 24 * mib, 30 * mib, 500*mib + 60*mib + 30*mib + 10*mib}, standing{SamplesStream: {80 * mib, 500 * mib}, DropsStream: {30 * mib, 60 * mib}, RegistryStream: {5 * mib, 0}, "OTHER": {mib, 30 * mib}}, false},
		"nothing is left":      {Options{}, 1 << 30, 0, limits{minStore / 3 * 2, minStore, minDropBytes, minDropBytes / 4 * 5, 500*mib + 60*mib + minStore}, standing{SamplesStream: {0, 500 * mib}, DropsStream: {0, 60 * mib}}, false},
		"never above before":   {Options{}, 1 << 30, 30 * mib, limits{10 * mib, 20 * mib, 8 * mib, 10 * mib, 20*mib + 10*mib + minStore}, standing{SamplesStream: {20 * mib, 20 * mib}, DropsStream: {11 * mib, 10 * mib}}, false},
		"given stays given":    {Options{MaxBytes: mib, LimitBytes: 8 * mib, DropsMaxBytes: 4 * mib}, 1 << 30, 100 * mib, limits{mib, 8 * mib, 4 * mib, 5 * mib, 500*mib + 60*mib + 10*mib}, standing{SamplesStream: {80 * mib, 500 * mib}, DropsStream: {30 * mib, 60 * mib}}, false},
	} {
		got, err := planLimits(c.opt, c.size, c.free, c.has)
		if (err != nil) != c.bad {
			t.Errorf("%s: %v", name, err)
		}
		if !c.bad && got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// TestStreamsAreAsDesigned reads back what the server made of the options.
func TestStreamsAreAsDesigned(t *testing.T) {
	dir := t.TempDir()
	for _, durability := range []string{Flush, Always, Async} {
		l := openLog(t, Options{Dir: filepath.Join(dir, durability), Durability: durability})
		s, err := l.current()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{SamplesStream, RegistryStream, DropsStream} {
			stream, err := s.js.Stream(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			c := stream.CachedInfo().Config
			async := c.PersistMode == jetstream.AsyncPersistMode
			if want := durability == Async && name == SamplesStream; async != want || !c.AllowDirect || c.Storage != jetstream.FileStorage {
				t.Errorf("%s, %s: %+v", durability, name, c)
			}
			if c.Discard != jetstream.DiscardNew || c.MaxAge > 0 || c.DenyPurge != (name == RegistryStream) || c.DenyDelete != (name == RegistryStream) {
				t.Errorf("%s: %+v", name, c)
			}
		}
		consumer, err := s.js.Consumer(t.Context(), SamplesStream, ArchiveName)
		if err != nil {
			t.Fatal(err)
		}
		if c := consumer.CachedInfo().Config; c.AckPolicy != jetstream.AckAllPolicy || c.MaxAckPending != -1 || c.AckWait < 300*24*time.Hour || c.InactiveThreshold != 0 {
			t.Errorf("consumer: %+v", c)
		}
	}
}

// TestOptionsMayChangeBetweenRuns opens one directory with other options; what
// is stored stays.
func TestOptionsMayChangeBetweenRuns(t *testing.T) {
	dir := t.TempDir()
	for i, opt := range []Options{
		{}, {Durability: Async}, {Durability: Always}, {LimitBytes: 8 << 20, DropsMaxBytes: 1 << 20}, {Listen: "127.0.0.1:0", DropsKeep: time.Hour}, {LimitBytes: 512 << 20, DropsMaxBytes: 128 << 20},
	} {
		opt.Dir = dir
		l := openLog(t, opt)
		store(t, l, i, 1)
		state, err := l.State(t.Context())
		if err != nil || state.Samples.Messages != uint64(i+1) {
			t.Errorf("run %d: %d messages, %v", i, state.Samples.Messages, err)
		}
		if opt.LimitBytes > 0 && state.Samples.Limit != opt.LimitBytes {
			t.Errorf("run %d: limit %d", i, state.Samples.Limit)
		}
		if (l.Addr() == "") != (opt.Listen == "") {
			t.Errorf("run %d: listening on %q", i, l.Addr())
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestListenerStaysWhereItIs restarts the server under visitors.
func TestListenerStaysWhereItIs(t *testing.T) {
	l := openLog(t, Options{Listen: "localhost:0"})
	addr := l.Addr()
	if host, port, err := net.SplitHostPort(addr); err != nil || host != "localhost" || port == "0" {
		t.Fatalf("listening on %q", addr)
	}
	l.restart(t.Context(), always)
	visitor(t, l)
	if l.Addr() != addr {
		t.Errorf("after a restart the listener is at %s, was at %s", l.Addr(), addr)
	}
}

func TestSyncMakesTheLogDurable(t *testing.T) {
	l := openLog(t, Options{})
	if err := l.Sync(); err != nil {
		t.Error(err)
	}
	if err := fsyncTree(l.opt.Dir); err != nil {
		t.Error(err)
	}
	if err := syncDir(filepath.Join(l.opt.Dir, "missing")); err == nil {
		t.Error("a missing directory was synced")
	}
}

// TestSmallFileSystem needs PVLOG_TEST_TMPFS, an empty folder on a file system
// of about 64 MiB: it fills it and frees it again.
func TestSmallFileSystem(t *testing.T) {
	root := os.Getenv("PVLOG_TEST_TMPFS")
	if root == "" {
		t.Skip("PVLOG_TEST_TMPFS names no small file system")
	}
	dir, err := os.MkdirTemp(root, "log")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	l := New(Options{Dir: dir, WaitingBytes: 1 << 20, Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil))})
	if err := l.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	runLog(t, l)
	const pvs, perPV = 8, 20_000
	ballast := filepath.Join(root, "ballast")
	defer func() { _ = os.Remove(ballast) }()
	_, free, err := space(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ballast, make([]byte, free-2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	wait := appendAll(t, l, pvs, perPV)
	ctx := within(t, 120*time.Second)
	for gauge(t, l.metrics.storing) == 1 && ctx.Err() == nil {
		_ = l.Sync()
	}
	if ctx.Err() != nil {
		t.Fatal("the full file system was not noticed")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	wait.Wait()
	if err := waitStored(t, l); err != nil {
		t.Fatal(err)
	}
	checkOrder(t, fetchUntil(t, l.Archive(), pvs, perPV), perPV, true)
}
