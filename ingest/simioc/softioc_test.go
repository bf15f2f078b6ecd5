package simioc

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"pvlog/ingest/ca"
)

// softIOC are the records of testdata/softioc.db.
func softIOC() []Record {
	return []Record{
		{Name: "ao", Type: ca.DBRDouble, RTYP: "ao", Value: 12.3456, Precision: 3, Units: "Volts12345", Desc: "an analog",
			Limits: Limits{HOPR: 100, LOPR: -5, HIHI: 90, HIGH: 80, LOW: 2, LOLO: 1, Alarm: true}},
		{Name: "big", Type: ca.DBRDouble, RTYP: "ao", Value: 123456789.987, Precision: 5},
		{Name: "huge", Type: ca.DBRDouble, RTYP: "ao", Value: 1.5e20, Precision: 5},
		{Name: "never", Type: ca.DBRDouble, RTYP: "ao", Precision: 2},
		{Name: "li", Type: ca.DBRLong, Value: -70000, Units: "cts", Limits: Limits{HOPR: 100000, LOPR: -100000}},
		{Name: "mb", Type: ca.DBREnum, Value: 2, Labels: []string{"Zero", "One", "Two", "Three"}},
		{Name: "st", Type: ca.DBRString, Value: "42.5"},
		{Name: "wf", Type: ca.DBRDouble, Count: 10, Value: []float64{1.5, 2.5, -3.5}, Precision: 2, Units: "mm", Limits: Limits{HOPR: 9}},
		{Name: "wc", Type: ca.DBRChar, Count: 10, Value: []byte{65, 66, 200}},
		{Name: "ws", Type: ca.DBRString, Count: 4, Value: []string{"a", "bc"}},
		{Name: "we", Type: ca.DBRShort, Count: 4},
		{Name: "f1", Type: ca.DBRFloat, Count: 3, Value: []float32{3.25}, Precision: 1},
	}
}

// The bar for every conversion is the answer of a real IOC, byte for byte.
func TestGetsAnswerAsARealIOC(t *testing.T) {
	ioc := start(t, Options{Records: softIOC()})
	c := dial(t, ioc)
	file, err := os.Open("testdata/softioc.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	channels := map[string]created{}
	lines := 0
	for scanner := bufio.NewScanner(file); scanner.Scan(); lines++ {
		var name, want string
		var d, count, status, n, size uint32
		if _, err := fmt.Sscan(scanner.Text(), &name, &d, &count, &status, &n, &size, &want); err != nil {
			t.Fatalf("line %d: %v", lines+1, err)
		}
		ch, ok := channels[name]
		if !ok {
			ch = c.create(name)
			channels[name] = ch
		}
		h, payload := c.get(ch.sid, ca.DBR(d), count)
		if ca.DBR(d).Class() == ca.TIME {
			clear(payload[4:12])
		}
		got := hex.EncodeToString([]byte(strings.TrimRight(string(payload), "\x00")))
		if want == "-" {
			want = ""
		}
		if h.P1 != status || h.Count != n || h.PayloadSize != size || got != want {
			t.Errorf("%s as %v, count %d:\n got status %d, count %d, size %d, %s\nwant status %d, count %d, size %d, %s",
				name, ca.DBR(d), count, h.P1, h.Count, h.PayloadSize, got, status, n, size, want)
		}
	}
	if lines < 500 {
		t.Fatalf("the file has %d lines", lines)
	}
}

// What base's server answers to requests that no client should send; each was
// tried on a real one.
func TestErrorsAnswerAsARealIOC(t *testing.T) {
	type want struct {
		command       uint16
		status        uint32 // of ERROR in P2, else P1
		closed        bool
		nothing, echo bool
	}
	fatal := func(status uint32) want { return want{command: ca.CmdError, status: status, closed: true} }
	const sid, bad = 0, 99999
	mask := func(m byte) []byte { return []byte{12: 0, 13: m, 15: 0} }
	tests := map[string]struct {
		h       ca.Header
		payload []byte
		want    want
	}{
		"read of no channel":          {ca.Header{Command: ca.CmdReadNotify, DataType: 6, Count: 1, P1: bad}, nil, fatal(ca.StatusInternal)},
		"old read of no channel":      {ca.Header{Command: ca.CmdRead, DataType: 6, Count: 1, P1: bad}, nil, fatal(ca.StatusInternal)},
		"write to no channel":         {ca.Header{Command: ca.CmdWrite, DataType: 6, Count: 1, P1: bad}, double(1), fatal(ca.StatusInternal)},
		"subscription of no channel":  {ca.Header{Command: ca.CmdEventAdd, DataType: 20, P1: bad}, mask(1), fatal(ca.StatusInternal)},
		"cancel on no channel":        {ca.Header{Command: ca.CmdEventCancel, DataType: 20, P1: bad}, nil, fatal(ca.StatusInternal)},
		"clear of no channel":         {ca.Header{Command: ca.CmdClearChannel, P1: bad}, nil, fatal(ca.StatusInternal)},
		"cancel of no subscription":   {ca.Header{Command: ca.CmdEventCancel, DataType: 20, P1: sid, P2: 5}, nil, fatal(ca.StatusBadMonitorID)},
		"read of an unknown type":     {ca.Header{Command: ca.CmdReadNotify, DataType: 39, Count: 1, P1: sid}, nil, want{closed: true, nothing: true}},
		"update of an unknown type":   {ca.Header{Command: ca.CmdEventAdd, DataType: 39, P1: sid}, mask(1), want{closed: true, nothing: true}},
		"old read of an unknown type": {ca.Header{Command: ca.CmdRead, DataType: 39, Count: 1, P1: sid}, nil, fatal(ca.StatusBadType)},
		"write of an unknown type":    {ca.Header{Command: ca.CmdWrite, DataType: 39, Count: 1, P1: sid}, double(1), fatal(ca.StatusBadType)},
		"put of an unknown type":      {ca.Header{Command: ca.CmdWriteNotify, DataType: 39, Count: 1, P1: sid}, double(1), want{command: ca.CmdWriteNotify, status: ca.StatusBadType, closed: true}},
		"read of a write-only type":   {ca.Header{Command: ca.CmdReadNotify, DataType: 35, Count: 1, P1: sid}, nil, want{command: ca.CmdReadNotify, status: ca.StatusGetFail}},
		"put of a stamped type":       {ca.Header{Command: ca.CmdWriteNotify, DataType: 20, Count: 1, P1: sid}, make([]byte, 24), want{command: ca.CmdWriteNotify, status: ca.StatusPutFail}},
		"mask 0":                      {ca.Header{Command: ca.CmdEventAdd, DataType: 20, P1: sid}, mask(0), fatal(ca.StatusAllocMem)},
		"mask 256":                    {ca.Header{Command: ca.CmdEventAdd, DataType: 20, P1: sid}, []byte{12: 1, 15: 0}, fatal(ca.StatusAllocMem)},
		"subscription without a mask": {ca.Header{Command: ca.CmdEventAdd, DataType: 20, P1: sid}, make([]byte, 8), fatal(ca.StatusAllocMem)},
		"unknown command":             {ca.Header{Command: 99}, nil, fatal(ca.StatusInternal)},
		"a server's command":          {ca.Header{Command: ca.CmdAccessRights}, nil, fatal(ca.StatusInternal)},
		"priority 100":                {ca.Header{Command: ca.CmdVersion, DataType: 100, Count: 13}, nil, want{closed: true, nothing: true}},
		"minor version 3":             {ca.Header{Command: ca.CmdVersion, Count: 3}, nil, want{closed: true, nothing: true}},
		"claim by an old client":      {ca.Header{Command: ca.CmdCreateChan, P1: 9, P2: 3}, []byte("v\x00"), want{command: ca.CmdError, status: ca.StatusDefunct}},
		"late client name":            {ca.Header{Command: ca.CmdClientName}, []byte("x\x00"), want{command: ca.CmdError, status: ca.StatusInternal}},
		"claim of an unknown name":    {ca.Header{Command: ca.CmdCreateChan, P1: 9, P2: 13}, []byte("nope\x00"), want{command: ca.CmdCreateChanFail, status: 9}},
		"claim without its NUL":       {ca.Header{Command: ca.CmdCreateChan, P1: 9, P2: 13}, []byte("12345678"), want{command: ca.CmdCreateChanFail, status: 9}},
		"put of no number":            {ca.Header{Command: ca.CmdWriteNotify, DataType: 0, Count: 1, P1: sid}, []byte("garbage\x00"), want{command: ca.CmdWriteNotify, status: ca.StatusPutFail}},
		"write of no number":          {ca.Header{Command: ca.CmdWrite, DataType: 0, Count: 1, P1: sid}, []byte("garbage\x00"), want{command: ca.CmdError, status: ca.StatusPutFail}},
		"put of too few bytes":        {ca.Header{Command: ca.CmdWriteNotify, DataType: 6, Count: 1, P1: sid}, nil, want{command: ca.CmdWriteNotify, status: ca.StatusPutFail}},
		"an answer beyond all bounds": {ca.Header{Command: ca.CmdReadNotify, DataType: 6, Count: 1 << 31, P1: sid}, nil, want{command: ca.CmdError, status: ca.StatusTooLarge}},
		"updates beyond all bounds":   {ca.Header{Command: ca.CmdEventAdd, DataType: 6, Count: 1 << 31, P1: sid}, mask(1), want{command: ca.CmdError, status: ca.StatusTooLarge}},
		"search for an unknown name":  {ca.Header{Command: ca.CmdSearch, DataType: ca.DoReply, Count: 13, P1: 9, P2: 9}, []byte("nope\x00"), want{command: ca.CmdNotFound, status: 9}},
		"silent search":               {ca.Header{Command: ca.CmdSearch, DataType: ca.DontReply, Count: 13, P1: 9, P2: 9}, []byte("nope\x00"), want{nothing: true}},
		"old echo":                    {ca.Header{Command: ca.CmdReadSync, P1: 3}, nil, want{command: ca.CmdReadSync, status: 3}},
		"echo with a payload":         {ca.Header{Command: ca.CmdEcho, P1: 3}, []byte("hello678"), want{command: ca.CmdEcho, status: 3, echo: true}},
		"search over the circuit":     {ca.Header{Command: ca.CmdSearch, DataType: ca.DontReply, Count: 13, P1: 9, P2: 9}, []byte("v\x00"), want{command: ca.CmdSearch, status: 0xFFFFFFFF}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ioc := start(t, Options{Records: []Record{{Name: "v", Type: ca.DBRDouble, Value: 1.0}}})
			bystander := dial(t, ioc)
			c := dial(t, ioc)
			if ch := c.create("v"); ch.sid != sid {
				t.Fatalf("first sid %d", ch.sid)
			}
			c.message(tt.h, tt.payload...)
			if !tt.want.nothing {
				h, payload := c.next()
				status := h.P1
				if h.Command == ca.CmdError {
					status = h.P2
					if embedded, _, err := ca.ParseHeader(payload); err != nil || embedded.Command != tt.h.Command {
						t.Errorf("the ERROR is about %+v (%v)", embedded, err)
					}
				}
				if h.Command != tt.want.command || status != tt.want.status {
					t.Errorf("answer %+v, want %s %d", h, ca.CommandName(tt.want.command), tt.want.status)
				}
				if tt.want.echo && string(payload) != string(tt.payload) {
					t.Errorf("echo of %q is %q", tt.payload, payload)
				}
			}
			if tt.want.closed {
				c.closed()
			} else {
				c.sync()
			}
			bystander.sync()
		})
	}
}

func TestUnalignedPayloadClosesTheCircuit(t *testing.T) {
	c := dial(t, start(t, Options{}))
	c.send(append(ca.AppendHeader(nil, ca.Header{Command: ca.CmdEcho, PayloadSize: 12}), make([]byte, 12)...))
	if h, _ := c.next(); h.Command != ca.CmdError || h.P2 != ca.StatusInternal {
		t.Errorf("got %+v", h)
	}
	c.closed()
}

func TestTooLargeRequestIsSkipped(t *testing.T) {
	c := dial(t, start(t, Options{}))
	c.send(ca.AppendHeader(nil, ca.Header{Command: ca.CmdEcho, PayloadSize: maxRequest + 8}))
	go c.conn.Write(make([]byte, maxRequest+8))
	if h, _ := c.next(); h.Command != ca.CmdError || h.P2 != ca.StatusTooLarge {
		t.Errorf("got %+v", h)
	}
	c.sync()
}
