package integration

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
	"pvlog/schema"
)

// The files testdata/ca*.txt hold what the command line tools of EPICS base
// print for the records below: testdata/README.md. With PVLOG_EPICS_TOOLS set
// to their directory the tests write these files instead.

// goldenRecords have each native type as scalar, array, half full and empty
// array, and the values that are hard to print.
func goldenRecords() []simioc.Record {
	limits := simioc.Limits{HOPR: 100, LOPR: -5, HIHI: 90, HIGH: 80, LOW: 2, LOLO: 1, Alarm: true}
	return []simioc.Record{
		{Name: "d", Type: ca.DBRDouble, RTYP: "ao", Value: 12.3456, Precision: 3, Units: "\xb5m/s", Limits: limits},
		{Name: "negative", Type: ca.DBRDouble, Value: -1234567.891, Precision: 2},
		{Name: "huge", Type: ca.DBRDouble, Value: 1.5e20, Precision: 5},
		{Name: "tiny", Type: ca.DBRDouble, Value: -1.5e-20, Precision: 9},
		{Name: "never", Type: ca.DBRDouble, Precision: 2},
		{Name: "nan", Type: ca.DBRDouble, Value: math.NaN(), Precision: 2},
		{Name: "minusnan", Type: ca.DBRDouble, Value: math.Copysign(math.NaN(), -1)},
		{Name: "inf", Type: ca.DBRDouble, Value: math.Inf(-1), Precision: 2},
		{Name: "l", Type: ca.DBRLong, Value: -70000, Units: "cts", Limits: simioc.Limits{HOPR: 100000, LOPR: -100000, LOW: -60000, Alarm: true}},
		{Name: "e", Type: ca.DBREnum, Value: 2, Labels: []string{"Zero", "f\xe9hler", `Two "x"`, "Three"}},
		{Name: "s", Type: ca.DBRString, Value: "tab\tquote\"deg\xb0"},
		{Name: "nothing", Type: ca.DBRString, Value: ""},
		{Name: "short", Type: ca.DBRShort, Value: -7},
		{Name: "char", Type: ca.DBRChar, Value: 200},
		{Name: "float", Type: ca.DBRFloat, Value: float32(0.1), Precision: 4},
		{Name: "doubles", Type: ca.DBRDouble, Count: 6, Value: []float64{1.5, 2.5, -3.5}, Precision: 2, Units: "mm", Limits: simioc.Limits{HOPR: 9}},
		{Name: "full", Type: ca.DBRFloat, Count: 3, Value: []float32{1.1, 2.5, -3.5}, Precision: 2},
		{Name: "bytes", Type: ca.DBRChar, Count: 10, Value: []byte{65, 66, 200}},
		{Name: "text", Type: ca.DBRChar, Count: 50, Value: []byte("a text longer than the forty bytes\t\"\xb0\" of\x00")},
		{Name: "strings", Type: ca.DBRString, Count: 4, Value: []string{"a", "b c"}},
		{Name: "empty", Type: ca.DBRShort, Count: 4, Value: []int16{}},
		{Name: "longs", Type: ca.DBRLong, Count: 5, Value: []int32{0, 1, -1, math.MaxInt32, math.MinInt32}},
		{Name: "floats", Type: ca.DBRDouble, Count: 12, Precision: 3,
			Value: []float64{0, -0.5, 0.5, 1.49, 1.5, -1.5, 2147483647, 3e9, -3e9, 123456.7, 1e-5, 99999.95}},
	}
}

// goldenIOC serves the records, all of them processed at one instant.
func goldenIOC(t *testing.T) *simioc.IOC {
	t.Helper()
	ioc, _ := simulated(t, goldenRecords()...)
	for i, r := range goldenRecords() {
		if r.Value == nil {
			continue
		}
		options := []simioc.PutOption{simioc.WithTime(schema.Time{Sec: 1_700_000_000 + int64(i), Nsec: 123_456_789})}
		switch r.Name {
		case "tiny":
			options = append(options, simioc.WithAlarm(3, 17)) // INVALID UDF
		case "s":
			options = append(options, simioc.WithTime(schema.Time{Sec: 1_700_000_000, Nsec: 1_500_000_000}))
		case "short":
			options = append(options, simioc.WithAlarm(9, 99)) // neither exists
		}
		if err := ioc.Put("sim:"+r.Name, r.Value, options...); err != nil {
			t.Fatal(err)
		}
	}
	return ioc
}

// goldenCase is a command and what it prints.
type goldenCase struct {
	command string // "caget -a sim:d"
	stdout  string
	stderr  string // what the tool says of missing PVs; other words are not recorded
	code    int
}

// readGolden parses a file: "$ command", its output, "! " before its words on
// standard error, and "exit N".
func readGolden(t *testing.T, name string) (cases []goldenCase) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var c goldenCase
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasPrefix(line, "$ "):
			c = goldenCase{command: strings.TrimSpace(line[2:])}
		case strings.HasPrefix(line, "! "):
			c.stderr += line[2:]
		case strings.HasPrefix(line, "exit "):
			if c.code, err = strconv.Atoi(strings.TrimSpace(line[5:])); err != nil {
				t.Fatal(err)
			}
			cases = append(cases, c)
		default:
			c.stdout += line
		}
	}
	if len(cases) == 0 {
		t.Fatalf("%s holds no command", name)
	}
	return cases
}

func writeGolden(t *testing.T, name string, cases []goldenCase) {
	t.Helper()
	var b bytes.Buffer
	for _, c := range cases {
		b.WriteString("$ " + c.command + "\n" + c.stdout)
		for line := range strings.Lines(c.stderr) {
			b.WriteString("! " + line)
		}
		b.WriteString("exit " + strconv.Itoa(c.code) + "\n")
	}
	if err := os.WriteFile(filepath.Join("testdata", name), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// arguments are a command's words; ALL stands for all PVs, ' quotes.
func (c goldenCase) arguments() (tool string, args []string) {
	for _, word := range regexp.MustCompile(`'[^']*'|\S+`).FindAllString(c.command, -1) {
		if word == "ALL" {
			for _, r := range goldenRecords() {
				args = append(args, "sim:"+r.Name)
			}
			continue
		}
		args = append(args, strings.Trim(word, "'"))
	}
	return args[0], args[1:]
}

// toolCommand is the real tool while files are written, else ours.
func (c goldenCase) toolCommand(ctx context.Context, t *testing.T, ioc *simioc.IOC) *exec.Cmd {
	t.Helper()
	tool, args := c.arguments()
	path := filepath.Join(os.Getenv("PVLOG_EPICS_TOOLS"), tool)
	if os.Getenv("PVLOG_EPICS_TOOLS") == "" {
		binary, err := pvlogBinary()
		if err != nil {
			t.Fatal(err)
		}
		path, args = binary, append([]string{"ca", strings.TrimPrefix(tool, "ca")}, args...)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(append(cleanEnvironment(), caEnvironment(ioc)...), "EPICS_CLI_TIMEOUT=20")
	return cmd
}

// run gives the case with what the command prints now.
func (c goldenCase) run(t *testing.T, ioc *simioc.IOC) goldenCase {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	cmd := c.toolCommand(ctx, t, ioc)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if failed, ok := errors.AsType[*exec.ExitError](err); !ok && err != nil {
		t.Fatal(err)
	} else if ok {
		c.code = failed.ExitCode()
	} else {
		c.code = 0
	}
	c.stdout, c.stderr = settled(stdout.String()), ""
	for line := range strings.Lines(stderr.String()) {
		if strings.HasPrefix(line, "Channel connect timed out") || strings.HasPrefix(line, "Warning: ") {
			c.stderr += line
		}
	}
	return c
}

var (
	nowStamps   = regexp.MustCompile(`20(2[4-9]|[3-9]\d)-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}`)
	hostAndPort = regexp.MustCompile(`(Host: +)\S+:\d+`)
)

// settled is output without the time of the run and the server's address.
func settled(output string) string {
	output = nowStamps.ReplaceAllString(output, "NOW")
	return hostAndPort.ReplaceAllString(output, "${1}HOST:PORT")
}

// golden compares or writes a file.
func golden(t *testing.T, name string, run func(goldenCase) goldenCase) {
	t.Helper()
	cases := readGolden(t, name)
	var written []goldenCase
	for _, want := range cases {
		got := run(want)
		written = append(written, got)
		if os.Getenv("PVLOG_EPICS_TOOLS") == "" && got != want {
			t.Errorf("%s: exit %d, want %d\n%s%swant, as EPICS base prints it:\n%s%s",
				want.command, got.code, want.code, got.stdout, got.stderr, want.stdout, want.stderr)
		}
	}
	if os.Getenv("PVLOG_EPICS_TOOLS") != "" {
		writeGolden(t, name, written)
	}
}

func TestCAGetPrintsAsCagetDoes(t *testing.T) {
	ioc := goldenIOC(t)
	golden(t, "caget.txt", func(c goldenCase) goldenCase { return c.run(t, ioc) })
}

func TestCAInfoPrintsAsCainfoDoes(t *testing.T) {
	ioc := goldenIOC(t)
	golden(t, "cainfo.txt", func(c goldenCase) goldenCase { return c.run(t, ioc) })
}

// The puts follow each other on one IOC.
func TestCAPutPrintsAsCaputDoes(t *testing.T) {
	ioc := goldenIOC(t)
	golden(t, "caput.txt", func(c goldenCase) goldenCase { return c.run(t, ioc) })
}

func TestCAMonitorPrintsAsCamonitorDoes(t *testing.T) {
	golden(t, "camonitor.txt", func(c goldenCase) goldenCase { return c.monitor(t, goldenIOC(t)) })
}

// monitor gives what is printed at first, after each PV changed, and when the
// server is gone, each of them sorted.
func (c goldenCase) monitor(t *testing.T, ioc *simioc.IOC) goldenCase {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	cmd := c.toolCommand(ctx, t, ioc)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_, _ = pipe.Read(nil)
		_ = cmd.Wait() // killed
	}()
	lines := bufio.NewScanner(pipe)
	next := func(n int) string {
		var group []string
		for len(group) < n && lines.Scan() {
			group = append(group, settled(lines.Text()+"\n"))
		}
		slices.Sort(group)
		return strings.Join(group, "")
	}
	n := strings.Count(c.command, "sim:")
	if strings.Contains(c.command, "ALL") {
		n = len(goldenRecords())
	}
	c.stdout = next(n)
	changed := 0
	for i, change := range []struct {
		pv    string
		value any
	}{
		{"sim:d", -95.5}, {"sim:e", 3}, {"sim:doubles", []float64{7}}, {"sim:text", []byte("new")},
		{"sim:strings", []string{}}, {"sim:longs", []int32{5}}, {"sim:empty", []int16{1, 2, 3, 4}},
	} {
		if !strings.Contains(c.command+" ", change.pv+" ") && !strings.Contains(c.command, "ALL") {
			continue
		}
		if err := ioc.Put(change.pv, change.value, simioc.WithTime(schema.Time{Sec: 1_700_000_100 + int64(i), Nsec: 500_000_000})); err != nil {
			t.Fatal(err)
		}
		changed++
	}
	c.stdout += next(changed)
	ioc.DisconnectAll()
	c.stdout += next(n)
	return c
}
