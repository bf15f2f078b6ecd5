package integration

import (
	"bytes"
	"context"
	"errors"
	"go/ast"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
	"pvlog/schema"
)

// toolRecords are what the tests of `pvlog ca` read and write.
func toolRecords() []simioc.Record {
	return []simioc.Record{
		{Name: "d", Type: ca.DBRDouble, Value: 1.25, Precision: 3, Units: "V", Limits: simioc.Limits{LOPR: -10, HOPR: 10}},
		{Name: "e", Type: ca.DBREnum, Value: 1, Labels: []string{"Off", "On", "Fault"}},
		{Name: "w", Type: ca.DBRLong, Count: 8, Value: []int32{1, 2, 3}},
		{Name: "text", Type: ca.DBRChar, Count: 100, Value: []byte("long text\x00")},
		{Name: "ro", Type: ca.DBRString, Value: "fixed", ReadOnly: true},
	}
}

// caEnvironment points CA clients at one IOC. A program that is built with -race
// sleeps for a second at its end if nobody minds.
func caEnvironment(ioc *simioc.IOC) []string {
	return []string{"EPICS_CA_ADDR_LIST=" + ioc.Addr(), "EPICS_CA_AUTO_ADDR_LIST=NO", "TZ=UTC", "GORACE=atexit_sleep_ms=0"}
}

// caTool runs `pvlog ca` to its end.
func caTool(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	binary, err := pvlogBinary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append([]string{"ca"}, args...)...)
	var out, problems bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = append(cleanEnvironment(), env...), &out, &problems
	err = cmd.Run()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), problems.String(), failed.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), problems.String(), 0
}

const toolWait = "-w 20" // of PVs that are there; a busy machine may be slow

func TestCAToolsReadWriteAndTellWhatIsWrong(t *testing.T) {
	ioc, _ := simulated(t, toolRecords()...)
	if err := ioc.Put("sim:d", 1.25, simioc.WithTime(schema.Time{Sec: 1_700_000_000, Nsec: 5000}), simioc.WithAlarm(2, 3)); err != nil {
		t.Fatal(err)
	}
	name := func(pv, rest string) string { return pv + strings.Repeat(" ", 31-len(pv)) + rest + "\n" }
	for _, c := range []struct {
		args   string
		code   int
		stdout string // all of it; "~x" means that it holds x
		stderr string // it holds this
	}{
		{"get " + toolWait + " sim:e sim:d sim:w", 0, name("sim:e", "On") + name("sim:d", "1.25") + "sim:w 8 1 2 3 0 0 0 0 0\n", ""},
		{"get " + toolWait + " -c sim:w", 0, "sim:w 3 1 2 3\n", ""},
		{"get " + toolWait + " -a sim:d", 0, name("sim:d", "2023-11-14 22:13:20.000005 1.25 HIHI MAJOR"), ""},
		{"get " + toolWait + " -t -s sim:d", 0, "1.250\n", ""},
		{"get " + toolWait + " -t -n sim:e", 0, "1\n", ""},
		{"get " + toolWait + " -t -S sim:text", 0, "long text\n", ""},
		{"get " + toolWait + " -F, -# 2 sim:w", 0, "sim:w,2,1,2\n", ""},
		{"get " + toolWait + " --ctrl sim:d", 0, "~    Units:            V\n    Precision:        3\n    Lo disp limit:    -10\n", ""},
		{"get " + toolWait + " -d time_string sim:d", 0, "~    Timestamp:        2023-11-14 22:13:20.000005\n", ""},
		{"get -w 0.3 sim:none sim:d", 1, name("sim:none", "*** not connected") + name("sim:d", "1.25"), "1 of 2 PVs not read"},
		{"get -w 0.3 -a sim:none sim:d", 1, "~" + name("sim:none", "*** Not connected (PV not found)"), "Channel connect timed out: some PV(s) not found."},
		{"get -w 0.3 sim:none", 1, "", "Channel connect timed out: 'sim:none' not found.\n`pvlog ca search --trace`"},
		{"get -V", 0, "~CA Protocol version 4.13\n", ""},
		{"get -e 3 -f 2 sim:d", 2, "", "-e, -f and -g"},
		{"get -0q sim:d", 2, "", "-0"},
		{"get " + toolWait + " -d CTRL_ENUM sim:ro sim:e", 1, "~sim:ro\n    *** CA error Channel read request failed\nsim:e\n", "1 of 2 PVs not read"},
		{"get -d NONSENSE sim:d", 2, "", "NONSENSE"},
		{"get -a -t sim:d", 2, "", "--terse"},
		{"get -F :: sim:d", 2, "", "one character"},
		{"get -w -1 sim:d", 2, "", "-w -1"},
		{"get", 2, "", "pv"},
		{"put " + toolWait + " sim:d -2.5", 0, "Old : " + name("sim:d", "1.25") + "New : " + name("sim:d", "-2.5"), ""},
		{"put " + toolWait + " -c -t sim:e Fault", 0, "Fault\n", ""},
		{"put " + toolWait + " -a sim:w 2 -7 8", 0, "Old : sim:w 8 1 2 3 0 0 0 0 0\nNew : sim:w 8 -7 8 0 0 0 0 0 0\n", ""},
		{"put " + toolWait + " -S sim:text other words", 0, "Old : sim:text long text\nNew : sim:text other words\n", ""},
		{"put " + toolWait + " sim:d abc", 1, "Old : " + name("sim:d", "-2.5"), "ECA_PUTFAIL"},
		{"put " + toolWait + " -c sim:d abc", 1, "Old : " + name("sim:d", "-2.5"), "ECA_PUTFAIL"},
		{"put " + toolWait + " sim:ro x", 1, "~", "no write access"},
		{"put " + toolWait + " sim:e Never", 1, "", "no state"},
		{"put -w 0.3 sim:none 1", 1, "", "not found"},
		{"put sim:d", 2, "", "value"},
		{"put " + toolWait + " -a -t sim:w 3 1", 0, "8 1 0 0 0 0 0 0 0\n", "Warning: -a 3: 1 values follow"},
		{"put -a sim:w x 1", 2, "", "number of values"},
		{"info " + toolWait + " -s 1 sim:w", 0, "~    Element count:    8\n    Address:          " + ioc.TCPAddr() + "\n    Protocol:         4.13\n", ""},
		{"info " + toolWait + " sim:ro", 0, "~Access:           read, no write\n", ""},
		{"info -w 0.3 sim:none", 1, "", "1 of 1 PVs not connected"},
		{"info -w 0.3 sim:none sim:w", 1, "~sim:none\n    State:            never connected\nsim:w\n    State:            connected\n", "1 of 2 PVs not connected"},
		{"monitor -m q sim:d", 2, "", "-m"},
		{"monitor -t q sim:d", 2, "", "-t"},
		{"search -w 1 --trace sim:d sim:none", 1, "~udp " + ioc.Addr(), "1 of 2 PVs not found"},
		{"search -w 1 sim:d", 0, "~" + ioc.TCPAddr() + ", protocol 4.13, ", ""},
		{"search -w x sim:d", 2, "", "-w"},
	} {
		out, problems, code := caTool(t, caEnvironment(ioc), strings.Fields(c.args)...)
		part, partial := strings.CutPrefix(c.stdout, "~")
		if code != c.code || !strings.Contains(problems, c.stderr) || partial && !strings.Contains(out, part) || !partial && out != c.stdout || c.code == 0 && c.stderr == "" && problems != "" {
			t.Errorf("pvlog ca %s: exit %d, want %d\noutput:\n%swant:\n%s\nerrors: %s\nwant: %s", c.args, code, c.code, out, c.stdout, problems, c.stderr)
		}
	}
}

func TestCASearchTracesWhatIsSentAndWhoAnswers(t *testing.T) {
	ioc, _ := simulated(t, toolRecords()...)
	out, _, _ := caTool(t, caEnvironment(ioc), "search", "--trace", "-w", "1", "sim:d", "sim:none")
	for _, want := range []string{
		"search from UDP port ", "EPICS_CA_ADDR_LIST, " + ioc.Addr() + "\n", "asked for sim:d sim:none (", "asked for sim:none (",
		" has sim:d: server " + ioc.TCPAddr() + ", protocol 4.13, ", "sim:none                       silent for 1.",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	dead := net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))
	env := []string{"EPICS_CA_ADDR_LIST=" + dead + " " + ioc.Addr(), "EPICS_CA_NAME_SERVERS=" + dead, "EPICS_CA_AUTO_ADDR_LIST=NO"}
	out, _, _ = caTool(t, env, "search", "--trace", "-w", "1", "sim:d")
	if !strings.Contains(out, dead+" cannot be reached: connection refused\n") || !strings.Contains(out, " has sim:d: server ") {
		t.Errorf("with a dead address:\n%s", out)
	}
	if _, problems, code := caTool(t, []string{"EPICS_CA_AUTO_ADDR_LIST=NO"}, "search", "sim:d"); code != 1 || !strings.Contains(problems, "nobody to ask") {
		t.Errorf("with no address: exit %d, %s", code, problems)
	}
	// The IOC answers searches over its circuits, too, as a name server does.
	env = []string{"EPICS_CA_NAME_SERVERS=" + ioc.TCPAddr(), "EPICS_CA_AUTO_ADDR_LIST=NO"}
	out, problems, code := caTool(t, env, "search", "--trace", "-w", "2", "sim:d")
	if code != 0 || !strings.Contains(out, "name server: connected") || !strings.Contains(out, " has sim:d: server "+ioc.TCPAddr()) {
		t.Errorf("over a name server: exit %d\n%s%s", code, out, problems)
	}
}

func TestCAMonitorPrintsUpdatesAndDisconnectsUntilItIsInterrupted(t *testing.T) {
	ioc, _ := simulated(t, toolRecords()...)
	binary, err := pvlogBinary()
	if err != nil {
		t.Fatal(err)
	}
	put := func(value float64, severity int16) {
		at := schema.Time{Sec: 1_700_000_000 + int64(value)}
		if err := ioc.Put("sim:d", value, simioc.WithTime(at), simioc.WithAlarm(severity, severity)); err != nil {
			t.Fatal(err)
		}
	}
	put(1, 0)
	p := startProcess(t, "pvlog ca monitor", binary, []string{"ca", "monitor", "-w", "0.5", "-s", "-F,", "sim:d", "sim:e", "sim:none"}, caEnvironment(ioc))
	p.waitFor(t, "sim:d,2023-11-14 22:13:21.000000,1.000,,\n", startTimeout)
	p.waitFor(t, ",On,,\n", startTimeout)
	p.waitFor(t, "sim:none,*** Not connected (PV not found)\n", startTimeout)
	put(2, 1)
	p.waitFor(t, "sim:d,2023-11-14 22:13:22.000000,2.000,READ,MINOR\n", startTimeout)
	ioc.DisconnectAll()
	p.waitFor(t, " *** disconnected\n", startTimeout)
	put(3, 0)
	p.waitFor(t, "sim:d,2023-11-14 22:13:23.000000,3.000,,\n", startTimeout)
	if err := p.end(syscall.SIGINT); err != nil {
		t.Errorf("after Ctrl-C: %v\n%s", err, p.tail())
	}
}

func TestOnlyTheCommandLineWritesPVs(t *testing.T) {
	used := 0
	for name, file := range parsedFiles(t) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		ast.Inspect(file.syntax, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "PutValues" {
				used++
				if !strings.HasSuffix(name, "cmd/pvlog/caput.go") {
					t.Errorf("%s writes PVs", name)
				}
			}
			return true
		})
	}
	if used != 1 {
		t.Errorf("%d places write PVs, want one", used)
	}
}
