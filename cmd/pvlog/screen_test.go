package main

import (
	"net"
	"strings"
	"testing"

	"pvlog/cmd/pvlog/appliance"
)

func TestRowsOfTheScreenKeepTheirColumns(t *testing.T) {
	head := row("PV", "value", "alarm", "stored", "dropped", "partition", "bytes")
	column := strings.Index(head, "partition")
	for name, p := range map[string]appliance.PV{
		"plain":      {Name: "demo:sine", Value: "0.5", Alarm: "MINOR", Stored: 12, Dropped: 3, Path: "/x/y/PART.pb", Bytes: 2048},
		"long":       {Name: "a:very:long:name:of:a:device:in:a:hall", Value: strings.Repeat("9", 80), Stored: 123456789, Path: "/x/PART" + strings.Repeat("x", 90)},
		"unfinished": {Name: "new", Path: "PART"},
	} {
		line := pvRow(p)
		if got := strings.Index(line, "PART"); got != column {
			t.Errorf("%s: the partition begins at column %d, want %d:\n%s\n%s", name, got, column, head, line)
		}
	}
	if line := pvRow(appliance.PV{Name: "new"}); !strings.HasPrefix(line, "new ") || strings.Contains(line, ".") && strings.Contains(line, "/") {
		t.Errorf("a PV without a file is shown as %q", line)
	}
}

func TestSizesAreReadable(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1 << 20: "1.0 MiB", 5 << 30: "5.0 GiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestTheHeadOfTheScreenCountsEverything(t *testing.T) {
	text := strings.Join(header(appliance.Overview{
		PVs: make([]appliance.PV, 7), Connected: 5, Stored: 11, Dropped: 12, Waiting: 13, LastSequence: 14, Messages: 15, LogBytes: 2048, Lag: 16,
	}, "127.0.0.1:5064"), "\n")
	contains(t, text, "127.0.0.1:5064", "5 of 7", "11 samples stored", "12 dropped", "waiting 13", "sequence 14", "15 messages", "2.0 KiB", "lag 16")
}

func TestATakenAddressIsReplacedAndSaid(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	var notes []string
	note := func(format string, _ ...any) { notes = append(notes, format) }
	for _, network := range []string{"tcp", "udp"} {
		if got := freeAddress(l.Addr().String(), network, note); got != "127.0.0.1:0" {
			t.Errorf("%s: got %s", network, got)
		}
		if got := freeAddress("127.0.0.1:0", network, note); got != "127.0.0.1:0" {
			t.Errorf("%s: got %s", network, got)
		}
	}
	if len(notes) != 2 {
		t.Errorf("said %q, want it twice", notes)
	}
	if got := freeAddress("no address", "tcp", note); got != "no address" {
		t.Errorf("got %q: the server says what is wrong with it", got)
	}
}
