package caclient_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/ingest/simioc"
)

// panicking is a handler that panics in the call that it is told to, after it
// was noted.
type panicking struct {
	*recorder
	in string
}

func (p *panicking) fail(call string) {
	if p.in == call {
		panic("injected in " + call)
	}
}

func (p *panicking) Connected(ch *caclient.Channel, info caclient.Info) {
	p.recorder.Connected(ch, info)
	ch.WatchProperties()
	p.fail("Connected")
}

func (p *panicking) Disconnected(ch *caclient.Channel, cause error) {
	p.recorder.Disconnected(ch, cause)
	p.fail("Disconnected")
}

func (p *panicking) Update(ch *caclient.Channel, u caclient.Update) {
	p.recorder.Update(ch, u)
	p.fail("Update")
}

func (p *panicking) Properties(*caclient.Channel, ca.Metadata) { p.fail("Properties") }

func (p *panicking) AccessChanged(*caclient.Channel, caclient.Info) { p.fail("AccessChanged") }

// lines is a log that may be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestAPanicOfOneHandlerHarmsNoOther_S54(t *testing.T) {
	for _, call := range []string{"Connected", "Update", "Properties", "AccessChanged", "Disconnected", "done"} {
		t.Run(call, func(t *testing.T) {
			records := []simioc.Record{{Name: "bad", Type: ca.DBRDouble, Value: 0.0}, {Name: "good", Type: ca.DBRDouble, Value: 0.0}}
			ioc, stop := startIOC(t, simioc.Options{Records: records})
			var log lines
			reg := prometheus.NewRegistry()
			client := run(t, caclient.Options{Registerer: reg, Logger: slog.New(slog.NewTextHandler(&log, nil))}, ioc.Addr())
			bad, good := &panicking{newRecorder(), call}, newRecorder()
			badChannel := client.Open("bad", bad)
			client.Open("good", good)
			take(t, bad.connected, "connection of the bad one")
			take(t, good.connected, "connection of the good one")
			if err := ioc.SetAccess("bad", ca.AccessRead); err != nil {
				t.Fatal(err)
			}
			if call == "done" {
				badChannel.GetAsync(ca.DBRTimeDouble, 1, func(caclient.Update, error) { panic("injected in done") })
			}
			for i := range 20 {
				for name, r := range map[string]*recorder{"bad": bad.recorder, "good": good} {
					if err := ioc.Put(name, float64(i+1)); err != nil {
						t.Fatal(err)
					}
					for r.value(t) != float64(i+1) {
						// the first update is that of the beginning
					}
				}
			}
			if len(good.disconnected) != 0 {
				t.Errorf("the circuit was lost: %v", <-good.disconnected)
			}
			stop()
			take(t, bad.disconnected, "loss of the bad one")
			take(t, good.disconnected, "loss of the good one")
			startIOC(t, simioc.Options{Listen: ioc.Addr(), Records: records})
			take(t, bad.connected, "reconnection of the bad one")
			take(t, good.connected, "reconnection of the good one")
			if got := log.String(); !strings.Contains(got, "injected in "+call) || !strings.Contains(got, "pv=bad") || !strings.Contains(got, "calm_test.go") {
				t.Errorf("the log does not tell the panic:\n%s", got)
			}
			if n := counted(t, reg, "panics_total"); n < 1 {
				t.Errorf("%v panics are counted", n)
			}
		})
	}
}
