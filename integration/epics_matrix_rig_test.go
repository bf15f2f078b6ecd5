package integration

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

// matrixPrefix begins the names of the records of epics/matrix.db.
const matrixPrefix = "MX:"

// matrixIOC is a real IOC with the records of epics/matrix.db, for tests of
// the client alone.
type matrixIOC struct {
	t       testing.TB
	python  string
	port    int
	env     []string // beside what keeps it to itself
	args    []string // of epics/matrix_ioc.py, beside the database
	inside  []string // a command that runs it elsewhere: in a network namespace
	process *process
}

// newMatrixIOC starts an IOC on a free port.
func newMatrixIOC(t testing.TB, env []string, args ...string) *matrixIOC {
	t.Helper()
	m := &matrixIOC{t: t, python: needEPICS(t), port: freePort(t), env: env, args: args}
	m.start()
	return m
}

// start runs the IOC, again on its port if it ran before.
func (m *matrixIOC) start() {
	m.t.Helper()
	security, err := filepath.Abs(filepath.Join("epics", "matrix.acf"))
	if err != nil {
		m.t.Fatal(err)
	}
	command := slices.Concat(m.inside, []string{m.python, filepath.Join("epics", "matrix_ioc.py"),
		"-d", filepath.Join("epics", "matrix.db"), "--acf", security}, m.args)
	m.process = startProcess(m.t, "IOC", command[0], command[1:],
		append([]string{
			"EPICS_CAS_INTF_ADDR_LIST=127.0.0.1",
			"EPICS_CAS_SERVER_PORT=" + strconv.Itoa(m.port),
			"EPICS_CAS_AUTO_BEACON_ADDR_LIST=NO",
			// access security reads the gate as a client
			"EPICS_CA_ADDR_LIST=" + m.addr(), "EPICS_CA_AUTO_ADDR_LIST=NO",
		}, m.env...))
	m.process.waitFor(m.t, "IOC Running", startTimeout)
}

// crash ends the IOC without a word to anyone but by the kernel.
func (m *matrixIOC) crash() { _ = m.process.end(syscall.SIGKILL) }

// signal stops the IOC or lets it go on.
func (m *matrixIOC) signal(s syscall.Signal) {
	m.t.Helper()
	if err := m.process.cmd.Process.Signal(s); err != nil {
		m.t.Fatal(err)
	}
}

func (m *matrixIOC) addr() string { return "127.0.0.1:" + strconv.Itoa(m.port) }

// shell runs a command of the IOC's shell and gives what it prints.
func (m *matrixIOC) shell(command string) string {
	m.t.Helper()
	before := m.process.output.size()
	if _, err := fmt.Fprintln(m.process.stdin, command); err != nil {
		m.t.Fatalf("tell the IOC %q: %v", command, err)
	}
	var out string
	waitUntil(m.t, startTimeout, "the end of "+command, func() error {
		text, ended := strings.CutSuffix(m.process.output.after(before), "done "+command+"\n")
		if !ended {
			return fmt.Errorf("it has printed %q", text)
		}
		out = text
		return nil
	})
	return out
}

// size is how much was printed.
func (o *transcript) size() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes.Len()
}

// after is what was printed behind the first n bytes.
func (o *transcript) after(n int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.bytes.Bytes()[n:])
}

var (
	servedClients  = regexp.MustCompile(`(?m)^\s*TCP client at `)
	servedChannels = regexp.MustCompile(`Channel: '([^']+)'\n.*\n\s+# on eventq=(\d+)`)
)

// served gives how many clients the IOC has but itself, and for each of their
// channels how many subscriptions it has.
func (m *matrixIOC) served() (clients int, subscriptions map[string]int) {
	m.t.Helper()
	subscriptions = map[string]int{}
	report := m.shell("casr 4")
	blocks := servedClients.FindAllStringIndex(report, -1)
	for i, at := range blocks {
		end := len(report)
		if i+1 < len(blocks) {
			end = blocks[i+1][0]
		}
		block := report[at[0]:end]
		if !strings.Contains(block, matrixUser) {
			continue
		}
		clients++
		for _, c := range servedChannels.FindAllStringSubmatch(block, -1) {
			n, _ := strconv.Atoi(c[2])
			subscriptions[c[1]] += n
		}
	}
	return clients, subscriptions
}

// matrixUser is who the clients of these tests say they are.
const matrixUser = "matrix-test"

// matrixClient is a client with its metrics.
type matrixClient struct {
	*caclient.Client
	t        testing.TB
	registry *prometheus.Registry
}

// newMatrixClient starts a client that searches at addresses and nowhere
// else. Without a repeater port it hears no beacons.
func newMatrixClient(t testing.TB, o caclient.Options, addrs ...string) *matrixClient {
	t.Helper()
	no := false
	o.AutoAddrList, o.AddrList, o.User = &no, addrs, matrixUser
	if o.RepeaterPort == 0 {
		o.RepeaterPort, o.Repeater = freePort(t), &no
	}
	m := &matrixClient{t: t, registry: prometheus.NewRegistry()}
	o.Registerer = m.registry
	m.Client = caclient.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := await(t, done, "end of the client"); err != nil {
			t.Errorf("run the client: %v", err)
		}
	})
	return m
}

// counted reads a metric.
func (m *matrixClient) counted(name string) float64 {
	m.t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		m.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "pvlog_caclient_"+name {
			return f.GetMetric()[0].GetCounter().GetValue() + f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	m.t.Fatalf("there is no metric %s", name)
	return 0
}

// waitCounted waits until a metric is at least n.
func (m *matrixClient) waitCounted(name string, n float64) {
	m.t.Helper()
	waitUntil(m.t, startTimeout, name, func() error {
		if got := m.counted(name); got < n {
			return fmt.Errorf("%v of %v", got, n)
		}
		return nil
	})
}

// watcher is a handler that subscribes and keeps what it hears.
type watcher struct {
	connected chan caclient.Info
	lost      chan error
	updates   chan caclient.Update
	access    chan caclient.Info
}

// watch opens a name.
func (m *matrixClient) watch(name string) (*watcher, *caclient.Channel) {
	w := newWatcher()
	return w, m.Open(name, w)
}

func newWatcher() *watcher {
	return &watcher{
		connected: make(chan caclient.Info, 100), lost: make(chan error, 100),
		updates: make(chan caclient.Update, 10_000), access: make(chan caclient.Info, 100),
	}
}

func (w *watcher) Connected(ch *caclient.Channel, info caclient.Info) {
	ch.Subscribe(ca.MaskValue | ca.MaskLog | ca.MaskAlarm)
	w.connected <- info
}

func (w *watcher) Disconnected(_ *caclient.Channel, cause error) { w.lost <- cause }

func (w *watcher) AccessChanged(_ *caclient.Channel, info caclient.Info) { w.access <- info }

func (w *watcher) Update(_ *caclient.Channel, u caclient.Update) {
	u.Payload = append([]byte(nil), u.Payload...)
	w.updates <- u
}

// await waits for what must come.
func await[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(time.Minute):
		t.Fatalf("no %s came", what)
		panic("unreachable")
	}
}

// decodeUpdate gives the sample that an update becomes in the archive.
func decodeUpdate(t testing.TB, u caclient.Update, waveform bool) schema.Sample {
	t.Helper()
	if u.Status != ca.StatusNormal {
		t.Fatalf("an update of status %s", ca.StatusName(u.Status))
	}
	event, s, err := ca.DecodeTime(nil, u.Type, u.Count, waveform, u.Payload)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := schema.DecodeSample(s.Type, s.Year, event)
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

// value waits for an update and gives what it holds.
func (w *watcher) value(t testing.TB, waveform bool) any {
	t.Helper()
	return decodeUpdate(t, await(t, w.updates, "update"), waveform).Value
}

// put writes to a PV of the channel's server and waits for its completion.
func put(t testing.TB, ch *caclient.Channel, values any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	if err := ch.PutValues(ctx, values, true); err != nil {
		t.Fatal(err)
	}
}
