package integration

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
)

// managementPort is the port that the management client always calls.
const managementPort = "17665"

// freeLoopback gives an address of this machine's loopback whose management
// port is free, so that tests that run at the same time do not meet.
func freeLoopback(t *testing.T) string {
	t.Helper()
	for n := range 200 {
		host := fmt.Sprintf("127.17.%d.%d", os.Getpid()%250, n+1)
		if listener, err := net.Listen("tcp", net.JoinHostPort(host, managementPort)); err == nil {
			if err := listener.Close(); err != nil {
				t.Fatal(err)
			}
			return host
		}
	}
	t.Skip("this system has no loopback addresses but 127.0.0.1")
	return ""
}

// managed is a pvlog that the management client of the Appliance manages.
type managed struct {
	*server
	client string // program
	host   string
	home   string // of the client, which writes log files
}

// run runs one of its commands on lines of CSV, confirms what it asks, and
// requires its exit code.
func (m *managed) run(want int, lines []string, args ...string) string {
	m.t.Helper()
	file := filepath.Join(m.t.TempDir(), "pvs.csv")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		m.t.Fatal(err)
	}
	args = append(args, "-a", m.host)
	if len(lines) > 0 {
		args = append(args, file)
	}
	cmd := exec.Command(m.client, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = m.home, append(cleanEnvironment(), "HOME="+m.home), strings.NewReader("y\n")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != want {
		m.t.Fatalf("arch-mgmt %v: exit code %d, want %d (%v)\n%s", args, got, want, err, out.String())
	}
	return out.String()
}

func (m *managed) is(pv, status string) {
	m.t.Helper()
	m.waitUntil(startTimeout, pv+" is "+status, func() error {
		var states []map[string]any
		if err := m.getJSON("/mgmt/bpl/getPVStatus", url.Values{"pv": {pv}}, &states); err != nil {
			return err
		}
		if len(states) != 1 || states[0]["status"] != status {
			return fmt.Errorf("%v", states)
		}
		return nil
	})
}

// TestEpicsManagementClient runs the commands of epicsarchiver-mgmt-client, as
// it is, against pvlog: each of them judges pvlog's answers by itself and ends
// with 0 if it likes them.
func TestEpicsManagementClient(t *testing.T) {
	client := filepath.Join(filepath.Dir(needEPICS(t)), "arch-mgmt")
	if _, err := os.Stat(client); err != nil {
		t.Fatalf("there is no management client: run make epics (%v)", err)
	}
	number := func(n uint64, _ time.Time) any { return float64(n) }
	var records []simioc.Record
	for _, name := range []string{"A", "B", "C", "NEW"} {
		records = append(records, simioc.Record{Name: name, Type: ca.DBRDouble, RTYP: "ai", Rate: 20, Generate: number})
	}
	ioc := simioc.New(simioc.Options{Listen: "127.0.0.1:0", Prefix: "MC:", Records: records})
	host := freeLoopback(t)
	m := &managed{client: client, host: host, home: t.TempDir(), server: newServer(t,
		[]string{"EPICS_CA_ADDR_LIST=" + runIOC(t, ioc), "EPICS_CA_AUTO_ADDR_LIST=NO"}, "--http", net.JoinHostPort(host, managementPort))}
	m.start()
	m.run(0, []string{"MC:A,", "MC:B,Default", "MC:C,"}, "archive")
	m.awaitConnected("MC:A", "MC:B", "MC:C")
	m.run(1, []string{"MC:A,"}, "archive") // it is archived already
	m.run(1, []string{"MC:NEW,no-such-policy"}, "archive")
	m.run(0, []string{"MC:A", "MC:B"}, "pause")
	m.is("MC:A", "Paused")
	m.run(0, []string{"MC:A"}, "resume")
	m.run(0, []string{"MC:A", "MC:C"}, "change-parameter", "--method", "SCAN", "--period", "2.0")
	m.is("MC:A", "Being archived")
	info := string(m.mustGet("/mgmt/bpl/getPVTypeInfo", url.Values{"pv": {"MC:C"}}))
	if !strings.Contains(info, `"samplingMethod":"SCAN"`) || !strings.Contains(info, `"samplingPeriod":"2.0"`) {
		t.Error(info)
	}
	m.run(0, []string{"MC:A,MC:NICK"}, "alias", "add")
	m.is("MC:NICK", "Being archived")
	m.run(0, []string{"MC:A,MC:NICK"}, "alias", "remove")
	m.is("MC:NICK", "Not being archived")
	m.run(0, []string{"MC:A,MC:NEW"}, "rename")
	m.is("MC:A", "Paused")
	m.awaitConnected("MC:NEW")
	if copies, old := m.lines("MC:NEW"), m.lines("MC:A"); len(old) == 0 || len(copies) < len(old) {
		t.Errorf("%d files under the new name, %d under the old", len(copies), len(old))
	}
	m.run(0, []string{"MC:C"}, "repolicy") // pauses, deletes and archives it again
	m.awaitConnected("MC:C")
	m.run(0, []string{"MC:C"}, "change-type", "--new-type", "DBR_SCALAR_INT")
	m.is("MC:C", "Being archived") // the client pauses and resumes it
	if info := string(m.mustGet("/mgmt/bpl/getPVTypeInfo", url.Values{"pv": {"MC:C"}})); !strings.Contains(info, `"DBRType":"DBR_SCALAR_INT"`) {
		t.Error(info)
	}
	if out := m.run(0, []string{"MC:A", "MC:B", "MC:C", "MC:nobody"}, "statuses"); !strings.Contains(out, "Paused") || !strings.Contains(out, "MC:nobody") {
		t.Error(out)
	}
	m.run(0, []string{"MC:missing,", "MC:absent,", "MC:lost,"}, "archive")
	m.run(0, []string{"MC:missing"}, "abort")
	m.is("MC:missing", "Not being archived")
	m.run(0, nil, "clear-queue")
	m.is("MC:absent", "Not being archived")
	m.is("MC:C", "Being archived")
	m.run(1, []string{"MC:C"}, "delete") // it is not paused
	m.run(0, []string{"MC:A", "MC:B"}, "delete")
	m.is("MC:B", "Not being archived")
	if len(m.lines("MC:A")) == 0 {
		t.Error("the client deleted data, which it never asks for")
	}
	m.stop()
}
