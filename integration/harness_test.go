package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Bounds that only a fault reaches.
const (
	startTimeout = 30 * time.Second
	stopTimeout  = 30 * time.Second
	pollInterval = 50 * time.Millisecond
)

// scratch is the folder of what outlives one test: the built binary.
var scratch string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "pvlog-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make scratch folder:", err)
		os.Exit(1)
	}
	scratch = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, "remove scratch folder:", err)
	}
	os.Exit(code)
}

// pvlogBinary builds cmd/pvlog once per run of the tests, with the race
// detector if they run with it.
var pvlogBinary = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(scratch, "pvlog")
	args := []string{"build", "-o", binary}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./cmd/pvlog")...)
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build pvlog: %w\n%s", err, out)
	}
	return binary, nil
})

// server is a pvlog process and its data directory, which outlives it.
type server struct {
	t    testing.TB
	data string
	env  []string // beside the test's own environment
	args []string // after `serve --data DIR --http 127.0.0.1:0 --nats ...`

	losses bool // it may tell of faults, such as what a power cut took of the log

	http, nats string // addresses of the running process
	process    *process
}

// newServer gives a server that does not run yet, on a fresh data directory.
// env are NAME=value pairs; EPICS_ and PVLOG_ variables of the test itself are
// not passed on.
func newServer(t testing.TB, env []string, args ...string) *server {
	t.Helper()
	return &server{t: t, data: filepath.Join(t.TempDir(), "data"), env: env, args: args}
}

// start runs `pvlog serve` and returns when both listeners answer.
func (s *server) start() {
	s.t.Helper()
	binary, err := pvlogBinary()
	if err != nil {
		s.t.Fatal(err)
	}
	addresses := filepath.Join(s.data, "addresses.json")
	if err := os.Remove(addresses); err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err) // one left by a killed process would be taken for the new one's
	}
	args := append([]string{"serve", "--data", s.data, "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0"}, s.args...)
	s.process = startProcess(s.t, "pvlog", binary, args, s.env)
	s.waitUntil(startTimeout, "addresses.json", func() error {
		b, err := os.ReadFile(addresses)
		if err != nil {
			return err
		}
		var at struct{ HTTP, NATS string }
		if err := json.Unmarshal(b, &at); err != nil {
			return err
		}
		s.http, s.nats = at.HTTP, at.NATS
		return nil
	})
	s.waitUntil(startTimeout, "/healthz", func() error {
		_, err := s.get("/healthz", nil)
		if s.losses && err != nil && strings.Contains(err.Error(), "503") {
			return nil
		}
		return err
	})
}

// stop ends the process as an operator does and requires a clean end.
func (s *server) stop() {
	s.t.Helper()
	if err := s.process.end(syscall.SIGTERM); err != nil {
		s.t.Fatalf("pvlog after SIGTERM: %v\n%s", err, s.process.tail())
	}
}

// kill ends the process as a power switch does, but for the page cache.
func (s *server) kill() {
	s.t.Helper()
	_ = s.process.end(syscall.SIGKILL) // "signal: killed" is what was asked for
}

// get fetches a page; any status but 200 is an error that holds the body.
func (s *server) get(path string, query url.Values) ([]byte, error) {
	at := "http://" + s.http + path
	if len(query) > 0 {
		at += "?" + query.Encode()
	}
	response, err := httpClient.Get(at)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", at, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", at, response.Status, body)
	}
	return body, nil
}

// mustGet is get for pages that must be there.
func (s *server) mustGet(path string, query url.Values) []byte {
	s.t.Helper()
	body, err := s.get(path, query)
	if err != nil {
		s.t.Fatal(err)
	}
	return body
}

// getJSON fetches a page into v.
func (s *server) getJSON(path string, query url.Values, v any) error {
	body, err := s.get(path, query)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("decode %s: %w: %.200s", path, err, body)
	}
	return nil
}

// waitUntil is waitUntil, cut short when the process ends by itself.
func (s *server) waitUntil(timeout time.Duration, what string, holds func() error) {
	s.t.Helper()
	waitUntil(s.t, timeout, what, func() error {
		select {
		case <-s.process.ended:
			s.t.Fatalf("wait for %s: pvlog ended by itself: %v\n%s", what, s.process.err, s.process.tail())
			return nil
		default:
			return holds()
		}
	})
}

// httpClient has a bound: a server that hangs must fail a test, not stop it.
var httpClient = &http.Client{Timeout: time.Minute}

// waitUntil asks again until holds gives nil; the last error tells what was
// missing when timeout ran out.
func waitUntil(t testing.TB, timeout time.Duration, what string, holds func() error) {
	t.Helper()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := holds()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("wait for %s: not within %v: %v", what, timeout, err)
		case <-tick.C:
		}
	}
}

// process is a child whose output is kept and whose end is awaited.
type process struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	output *transcript
	ended  chan struct{} // closed once the process is gone; err is set before
	err    error
}

// startProcess runs a program; what still runs at the end of the test is
// killed then, and its output shown if the test failed.
func startProcess(t testing.TB, name, program string, args, env []string) *process {
	t.Helper()
	p := &process{name: name, cmd: exec.Command(program, args...), output: &transcript{}, ended: make(chan struct{})}
	p.cmd.Env = append(cleanEnvironment(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin = stdin
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.end(syscall.SIGKILL)
		if t.Failed() {
			t.Logf("output of %s:\n%s", name, p.tail())
		}
	})
	return p
}

// end signals the process and waits for its end; the error is how it ended.
func (p *process) end(signal syscall.Signal) error {
	select {
	case <-p.ended:
		return p.err
	default:
	}
	if err := p.cmd.Process.Signal(signal); err != nil {
		<-p.ended
		return p.err
	}
	return p.wait()
}

// hangUp closes the process's standard input and waits for its end.
func (p *process) hangUp() error {
	if err := p.stdin.Close(); err != nil {
		return fmt.Errorf("close standard input of %s: %w", p.name, err)
	}
	return p.wait()
}

func (p *process) wait() error {
	select {
	case <-p.ended:
		return p.err
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return fmt.Errorf("%s did not end within %v and was killed", p.name, stopTimeout)
	}
}

// waitFor waits until the process has printed text.
func (p *process) waitFor(t testing.TB, text string, timeout time.Duration) {
	t.Helper()
	waitUntil(t, timeout, fmt.Sprintf("%q from %s", text, p.name), func() error {
		if p.output.contains(text) {
			return nil
		}
		select {
		case <-p.ended:
			t.Fatalf("%s ended by itself: %v\n%s", p.name, p.err, p.tail())
		default:
		}
		return fmt.Errorf("it has not printed it")
	})
}

// tail is the last of what the process printed.
func (p *process) tail() string { return p.output.tail(8 << 10) }

// transcript keeps what a process prints. Its methods may be used from any
// goroutine.
type transcript struct {
	mu    sync.Mutex
	bytes bytes.Buffer
}

// Write keeps b.
func (o *transcript) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes.Write(b)
}

func (o *transcript) contains(text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Contains(o.bytes.Bytes(), []byte(text))
}

func (o *transcript) tail(limit int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.bytes.Bytes()
	return string(b[max(0, len(b)-limit):])
}

// cleanEnvironment is the test's environment without what would point pvlog
// or EPICS at something real.
func cleanEnvironment() []string {
	var env []string
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "EPICS_") && !strings.HasPrefix(pair, "PVLOG_") {
			env = append(env, pair)
		}
	}
	// No test owns the host's repeater port, or hears its beacons. The race
	// detector's second of sleep at each exit finds nothing here.
	return append(env, "EPICS_CA_REPEATER_PORT=35065", "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
}
