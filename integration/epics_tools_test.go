package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// toolScenario is the IOC that real clients read and write.
const toolScenario = `
iocs:
  - listen: 127.0.0.1:%d
    prefix: "T:"
    records:
      - {name: d, type: double, rtyp: ao, value: 1.25, precision: 3, units: V, limits: {lopr: -10, hopr: 10, lolo: -9, low: -8, high: 8, hihi: 9}}
      - {name: e, type: enum, labels: ["Off", "On", Fault], value: Fault, states: [NO_ALARM, MINOR, MAJOR]}
      - {name: w, type: long, count: 8, value: [1, 2, 3]}
      - {name: large, type: double, count: 20000, value: []}
      - {name: text, type: char, count: 200, value: "a long string of more than forty bytes, which STRING cannot hold"}
      - {name: s, type: string, value: short text, aliases: [nick]}
      - {name: slow, type: double, value: 1, process: 1s}
      - {name: tick, type: double, rate: 10, generate: {kind: counter}}
      - {name: ro, type: double, value: 5, access: read}
      - {name: stamped, type: double, value: 1, time: {absolute: "2020-02-29T12:00:00.5Z"}, alarm: {severity: MAJOR, status: COMM}}
`

// TestEpicsToolsAgainstSimIOC has clients that share no code with pvlog use
// `pvlog ioc`: libca by pyepics, and caproto's command line.
func TestEpicsToolsAgainstSimIOC(t *testing.T) {
	python := needEPICS(t)
	t.Run("pyepics", func(t *testing.T) { readByPyepics(t, python, simulatedTools(t)) })
	t.Run("real IOC", func(t *testing.T) { compareWithRealIOC(t, python, simulatedTools(t)) })
	t.Run("old servers", func(t *testing.T) { readFromOldServers(t, python) })
	t.Run("caproto", func(t *testing.T) { readByCaproto(t, filepath.Dir(python), simulatedTools(t)) })
}

// simulatedTools runs the binary's IOC and gives the environment of its clients.
func simulatedTools(t *testing.T) []string {
	t.Helper()
	binary, err := pvlogBinary()
	if err != nil {
		t.Fatal(err)
	}
	port, file := freePort(t), filepath.Join(t.TempDir(), "tools.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, toolScenario, port), 0o600); err != nil {
		t.Fatal(err)
	}
	startProcess(t, "pvlog ioc", binary, []string{"ioc", "--scenario", file}, nil).waitFor(t, "EPICS_CA_ADDR_LIST=", startTimeout)
	return []string{fmt.Sprintf("EPICS_CA_ADDR_LIST=127.0.0.1:%d", port), "EPICS_CA_AUTO_ADDR_LIST=NO", "TZ=UTC"}
}

// runTool runs a client to its end and gives what it printed.
func runTool(t *testing.T, env []string, program string, args ...string) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var out, problems bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = append(cleanEnvironment(), env...), &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s%s", filepath.Base(program), args, err, out.String(), problems.String())
	}
	return out.String(), problems.String()
}

// pyepics gives what clients.py found.
func pyepics(t *testing.T, python string, env []string) map[string]any {
	t.Helper()
	out, problems := runTool(t, env, python, filepath.Join("epics", "clients.py"), "T:")
	var found map[string]any
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatalf("%v in %s%s", err, out, problems)
	}
	return found
}

// compareWithRealIOC lets pyepics do the same with pvlog's IOC and with a real
// one of the same records.
func compareWithRealIOC(t *testing.T, python string, env []string) {
	port := strconv.Itoa(freePort(t))
	realEnv := []string{"EPICS_CA_ADDR_LIST=127.0.0.1:" + port, "EPICS_CA_AUTO_ADDR_LIST=NO", "TZ=UTC"}
	startProcess(t, "real IOC", python, []string{filepath.Join("epics", "ioc.py"), "-d", filepath.Join("epics", "tools.db")}, append(realEnv,
		"EPICS_CAS_INTF_ADDR_LIST=127.0.0.1", "EPICS_CAS_SERVER_PORT="+port, "EPICS_CAS_AUTO_BEACON_ADDR_LIST=NO")).waitFor(t, "IOC Running", startTimeout)
	want, found := pyepics(t, python, realEnv), pyepics(t, python, env)
	// These tell the host, the time, and access security that the real IOC has not.
	for _, call := range []string{"info", "type", "stamp", "monitor", "put slow", "put read-only"} {
		delete(want, call)
	}
	for call, w := range want {
		if !reflect.DeepEqual(found[call], w) {
			t.Errorf("%s: pvlog's IOC gives %v, the real one %v", call, found[call], w)
		}
	}
	if len(want) < 15 {
		t.Errorf("only %d calls are compared", len(want))
	}
}

// readByPyepics compares what clients.py found with what a real IOC with these
// records tells.
func readByPyepics(t *testing.T, python string, env []string) {
	found := pyepics(t, python, env)
	host := strings.TrimPrefix(env[0], "EPICS_CA_ADDR_LIST=127.0.0.1:")
	for call, want := range map[string]string{
		"get": `1.25`, "get string": `"1.250"`, "get enum": `2`, "get enum string": `"Fault"`,
		"get array": `[1, 2, 3]`, "get 2 of array": `[1, 2]`, "get large": `[20000, 19999]`,
		"get long string":   `"a long string of more than forty bytes, which STRING cannot hold"`,
		"get string record": `"short text"`, "get field": `["V", "ao", "T:s"]`,
		"ctrlvars": `{"upper_disp_limit": 10, "lower_disp_limit": -10, "upper_alarm_limit": 9, "upper_warning_limit": 8,
			"lower_warning_limit": -8, "lower_alarm_limit": -9, "upper_ctrl_limit": 10, "lower_ctrl_limit": -10, "precision": 3, "units": "V"}`,
		"enum strings": `["Off", "On", "Fault"]`, "stamp": `[1582977600.5, 9, 2]`,
		"type": `["ctrl_double", 1, "localhost:` + host + `", "read/write", "read-only", 20000]`,
		"put":  `[-9.5, 2]`, "put enum": `1`, "put array": `[7, 8]`, "put string": `"new"`,
		"put long string": `"other words of more than forty characters in all"`,
		"put read-only":   `" put returned 'Write access denied'"`,
	} {
		var wanted any
		if err := json.Unmarshal([]byte(want), &wanted); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(found[call], wanted) {
			t.Errorf("%s: %v, want %v", call, found[call], wanted)
		}
	}
	if took, ok := found["put slow"].(float64); !ok || took < 1 {
		t.Errorf("a put with wait on a record that takes 1 s took %v", found["put slow"])
	}
	values, _ := found["monitor"].([]any)
	for i := 1; i < len(values); i++ {
		before, after := values[i-1].([]any), values[i].([]any)
		if after[0].(float64) != before[0].(float64)+1 || after[1].(float64) <= before[1].(float64) {
			t.Errorf("monitor: %v after %v", after, before)
		}
	}
	if len(values) != 3 || !strings.Contains(fmt.Sprint(found["info"]), "char_value      = '1.250'") {
		t.Errorf("monitor %v, info %v", values, found["info"])
	}
}

// readByCaproto runs caproto's command line clients, each with what it prints.
func readByCaproto(t *testing.T, bin string, env []string) {
	stamp := `20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}`
	for _, c := range []struct{ tool, args, want string }{
		{"get", "T:d T:e T:w", `T:d +\[1\.25\]\nT:e +\[(b')?Fault'?\]\nT:w +\[1 2 3\]\n`},
		{"get", "-S T:text", `a long string of more than forty bytes, which STRING cannot hold`},
		{"get", "-a T:stamped", `T:stamped 2020-02-29 12:00:00\.500000 \[1\.?\]`},
		{"get", "-d control -# 2 T:w", `\[1 2\]`},
		{"get", "T:nick.NAME T:tick.RTYP T:d.EGU", `\[T:s\]\nT:tick.RTYP +\[ai\]\nT:d.EGU +\[V\]`},
		{"put", "T:d 2.5", `Old : T:d +\[1\.25\]\nNew : T:d +\[2\.5\]`},
		{"put", "T:e On", `New : T:e +\[(b')?On'?\]`},
		{"put", "-c T:slow 7", `New : T:slow +\[7\.\]`},
		{"put", "-S T:text hello", `New : T:text +\[104 101 108 108 111\]`},
		{"put", "T:ro 3", `ECA_NOWTACCESS`},
		{"monitor", "--maximum 3 T:tick", `(T:tick +` + stamp + ` \[\d+\.?\]\n){3}`},
	} {
		out, problems := runTool(t, env, filepath.Join(bin, "caproto-"+c.tool), append([]string{"--no-repeater", "--no-color"}, strings.Fields(c.args)...)...)
		if !regexp.MustCompile(c.want).MatchString(out + problems) {
			t.Errorf("caproto-%s %s prints\n%s%s\nwant %s", c.tool, c.args, out, problems, c.want)
		}
	}
	array, problems := runTool(t, env, filepath.Join(bin, "caproto-put"), "--no-repeater", "-a", "T:w", "4 5 6")
	if !strings.Contains(array, "[4 5 6]") {
		t.Errorf("caproto-put -a prints\n%s%s", array, problems)
	}
}

// oldServersScript gets, monitors and puts on servers of each age. libca takes
// the port of one before CA 4.5 from EPICS_CA_SERVER_PORT.
const oldServersScript = `
import epics, threading
for minor in range(4, 14):
    p, enough, seen = "m%d:" % minor, threading.Event(), []
    def update(value=None, **_):
        seen.append(value)
        if len(seen) > 2:
            enough.set()
    epics.camonitor(p + "d", callback=update)
    enough.wait(20)
    w = epics.caget(p + "w", timeout=20)
    put = epics.caput(p + "e", "on", wait=True, timeout=20)
    print(minor, len(seen) > 2, w.tolist()[:3], len(w), put, epics.caget(p + "e", as_string=True))
`

// readFromOldServers has libca use servers of each minor version.
func readFromOldServers(t *testing.T, python string) {
	binary, err := pvlogBinary()
	if err != nil {
		t.Fatal(err)
	}
	var text, want strings.Builder
	var addresses []string
	text.WriteString("iocs:\n")
	env := []string{"EPICS_CA_AUTO_ADDR_LIST=NO"}
	for minor := 4; minor <= 13; minor++ {
		port, n := freePort(t), 10 // before 4.13 libca reads the whole array
		if minor == 13 {
			n = 3
		}
		if minor == 4 {
			env = append(env, fmt.Sprintf("EPICS_CA_SERVER_PORT=%d", port))
		}
		addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", port))
		fmt.Fprintf(&text, "  - {minor: %d, prefix: 'm%d:', listen: '127.0.0.1:%d', records: [{name: d, type: double, rate: 10, generate: {kind: counter}},"+
			" {name: w, type: long, count: 10, value: [1, 2, 3]}, {name: e, type: enum, labels: ['off', 'on'], value: 0}]}\n", minor, minor, port)
		fmt.Fprintf(&want, "%d True [1, 2, 3] %d 1 on\n", minor, n)
	}
	file := filepath.Join(t.TempDir(), "old.yaml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	startProcess(t, "pvlog ioc", binary, []string{"ioc", "--scenario", file}, nil).waitFor(t, "EPICS_CA_ADDR_LIST=", startTimeout)
	out, problems := runTool(t, append(env, "EPICS_CA_ADDR_LIST="+strings.Join(addresses, " ")), python, "-c", oldServersScript)
	if out != want.String() {
		t.Errorf("libca finds\n%swant\n%s%s", out, want.String(), problems)
	}
}
