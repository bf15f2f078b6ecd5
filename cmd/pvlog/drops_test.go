package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

func TestDropsAreOneLineEachWhateverTheyHold(t *testing.T) {
	var drops []drop
	err := json.Unmarshal([]byte(`[
		{"pv":"A:B","reason":"order","detail":"not later than the last","time":"2023-11-14T22:13:20.000000005Z","severity":2,"value":1.5,"envelope":{"received":"2023-11-14T22:13:21Z"},"position":{"sequence":12,"index":3}},
		{"pv":"bad\u001b[2Jname","reason":"file","detail":"open: denied\nclose:\tbad","time":"1969-12-31T23:59:59.999999999Z","value":"x\ny"},
		{"pv":"C","reason":"damaged","detail":"","value":null}]`), &drops)
	if err != nil {
		t.Fatal(err)
	}
	drops[0].Value = json.RawMessage("[" + strings.Repeat("1,", 1000) + "1]")
	var out bytes.Buffer
	table := dropTable(&out)
	for _, d := range drops {
		if err := d.print(table); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "PV") {
		t.Fatalf("%d lines, want a head and three:\n%s", len(lines), out.String())
	}
	for i, want := range [][]string{{"2023-11-14T22:13:20.000000005Z", "2023-11-14T22:13:21.000Z", " 12/3 ", "not later"}, {"1969-12-31T23:59:59.999999999Z"}, {"damaged"}} {
		for _, text := range want {
			if !strings.Contains(lines[i+1], text) || len(lines[i+1]) > 230 {
				t.Errorf("line %d is %q, want %s in it", i, lines[i+1], text)
			}
		}
	}
	if i := strings.IndexFunc(strings.Join(lines, ""), func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("what steers a terminal is printed: %q", out.String())
	}
}

// pagedDrops answers as the server does, from a log of some drops.
func pagedDrops(t *testing.T, total int) (server *httptest.Server, asked *[]string) {
	asked = &[]string{}
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.URL.Path+"?"+r.URL.RawQuery)
		after, _ := strconv.Atoi(r.URL.Query().Get("after"))
		limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
		if err != nil {
			t.Error(err)
		}
		if r.URL.Query().Get("format") == "csv" {
			fmt.Fprint(w, "pv,cursor\r\n")
			for n := after + 1; n <= min(total, after+limit); n++ {
				fmt.Fprintf(w, "A,%d\r\n", n)
			}
			return
		}
		separator := "["
		for n := after + 1; n <= min(total, after+limit); n++ {
			fmt.Fprintf(w, `%s{"pv":"A","cursor":"%d"}`, separator, n)
			separator = ","
		}
		fmt.Fprint(w, strings.TrimPrefix(separator, ","))
		fmt.Fprint(w, "]")
	}))
	t.Cleanup(server.Close)
	return server, asked
}

// printed runs a command and gives what it prints.
func printed(t *testing.T, run func(context.Context) error) string {
	t.Helper()
	old := os.Stdout
	file, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout = file
	err = run(t.Context())
	os.Stdout = old
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAllDropsAreReadPageByPage(t *testing.T) {
	for _, total := range []int{0, 3, dropsPage, dropsPage + 7} {
		server, asked := pagedDrops(t, total)
		c := dropsCmd{client: client{Server: server.URL}, PV: "*", Format: "json"}
		var all []drop
		if err := json.Unmarshal([]byte(printed(t, c.Run)), &all); err != nil || len(all) != total {
			t.Errorf("%d drops: %d are printed as JSON, %v", total, len(all), err)
		}
		c.Format = "csv"
		if lines := strings.Count(printed(t, c.Run), "\n"); lines != total+1 {
			t.Errorf("%d drops: %d lines of CSV", total, lines)
		}
		c.Format = "table"
		if lines := strings.Count(printed(t, c.Run), "\n"); lines != total+1 {
			t.Errorf("%d drops: a table of %d lines", total, lines)
		}
		if pages := total/dropsPage + 1; len(*asked) != 3*pages {
			t.Errorf("%d drops: asked %q", total, *asked)
		}
	}
}

func TestTheNewestDropsAreAskedForOnce(t *testing.T) {
	server, asked := pagedDrops(t, 100)
	c := dropsCmd{client: client{Server: server.URL}, PV: "A:*", Reason: []string{"order", "type"}, Since: "24h", Limit: 100, Format: "json"}
	if got := strings.Count(printed(t, c.Run), "cursor"); got != 100 || len(*asked) != 1 || (*asked)[0] != "/api/v1/drops?limit=100&pv=A%3A%2A&reason=order%2Ctype&since=24h" {
		t.Errorf("%d drops, asked %q", got, *asked)
	}
}

func TestDropsAreSummarized(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/drops/summary" || r.URL.Query().Get("top") != "2" {
			t.Errorf("asked %s", r.URL)
		}
		fmt.Fprint(w, `{"drops":9,"pv_count":3,"reasons":{"order":3,"type":6},"pvs":[{"pv":"B","drops":6,"reasons":{"order":1,"type":5}},{"pv":"A","drops":2,"reasons":{"order":2}}],
			"keeping":{"bytes":1024,"max_bytes":2048,"keep":3600,"expired":5,"reasons":{"order":{"expired":4,"leaves":"2026-11-25T13:00:00Z"},"nanos":{"expired":1,"leaves":null},"type":{"expired":0,"leaves":"2026-12-25T13:00:00Z"}}}}`)
	}))
	defer server.Close()
	c := dropsCmd{client: client{Server: server.URL}, PV: "*", Summary: true, Limit: 2, Format: "table"}
	want := `REASON  DROPS  EXPIRED  OLDEST LEAVES
type    6      0        2026-12-25 13:00:00Z
order   3      4        2026-11-25 13:00:00Z
nanos   0      1        -
all     9      5        after 1h0m0s; 1.0 KiB of 2.0 KiB are free

PV  DROPS  REASONS
B   6      type 5, order 1
A   2      order 2
and 1 PVs more
`
	if got := printed(t, c.Run); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	c.Format = "csv"
	if got := printed(t, c.Run); got != "pv,reason,drops\nB,type,5\nB,order,1\nA,order,2\n" {
		t.Errorf("CSV %q", got)
	}
	c.Limit = -1
	if err := c.Run(t.Context()); exitCode(err) != exitUsage {
		t.Errorf("limit -1: %v", err)
	}
}
