package simioc

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"pvlog/ingest/ca"
)

func padded(s string) []byte { return append([]byte(s), make([]byte, ca.MaxStringSize-len(s))...) }

func TestWritesConvert(t *testing.T) {
	records := []Record{
		{Name: "d", Type: ca.DBRDouble, Precision: 2}, {Name: "l", Type: ca.DBRLong}, {Name: "h", Type: ca.DBRShort},
		{Name: "b", Type: ca.DBRChar}, {Name: "f", Type: ca.DBRFloat, Precision: 1}, {Name: "s", Type: ca.DBRString},
		{Name: "e", Type: ca.DBREnum, Labels: []string{"Off", "On", "Ill"}},
		{Name: "ro", Type: ca.DBRDouble, Value: 1.0, ReadOnly: true},
	}
	const ok, fail, refused = ca.StatusNormal, ca.StatusPutFail, ca.StatusNoWriteAccess
	tests := []struct {
		name    string
		d       ca.DBR
		payload []byte
		status  uint32
		want    string // as a string afterwards
	}{
		{"d", ca.DBRDouble, double(2.5), ok, "2.50"},
		{"d", ca.DBRString, []byte("-1e3\x00"), ok, "-1000.00"},
		{"d", ca.DBRString, []byte("0x10\x00"), ok, "16.00"},
		{"d", ca.DBRString, []byte("nan\x00"), ok, "nan"},
		{"d", ca.DBRString, []byte("1,5\x00"), fail, "nan"},
		{"d", ca.DBRString, []byte("\x00"), fail, "nan"},
		{"d", ca.DBRLong, []byte{0xFF, 0xFF, 0xFF, 0xFE}, ok, "-2.00"},
		{"d", ca.DBRFloat, []byte{0x7F, 0x80, 0, 0}, ok, "      inf"},
		{"l", ca.DBRDouble, double(-3.99), ok, "-3"},
		{"l", ca.DBRDouble, double(1e12), ok, "-2147483648"},
		{"l", ca.DBRString, []byte("2147483647\x00"), ok, "2147483647"},
		{"l", ca.DBRString, []byte("2147483648\x00"), fail, "2147483647"},
		{"l", ca.DBRString, []byte("12.7\x00"), ok, "12"},
		{"h", ca.DBRLong, []byte{0, 1, 0, 5}, ok, "5"},
		{"h", ca.DBRString, []byte("40000\x00"), fail, "5"},
		{"b", ca.DBRShort, []byte{1, 200}, ok, "200"},
		{"b", ca.DBRString, []byte("-1\x00"), fail, "200"},
		{"f", ca.DBRDouble, double(0.25), ok, "0.3"},
		{"s", ca.DBRString, []byte("short\x00"), ok, "short"},
		{"s", ca.DBRString, append(padded("junk")[:5], bytes.Repeat([]byte{'x'}, 35)...), ok, "junk"},
		{"s", ca.DBRString, bytes.Repeat([]byte{'y'}, 40), ok, strings.Repeat("y", 39)},
		{"s", ca.DBRDouble, double(7), ok, "7"},
		{"e", ca.DBRString, []byte("Ill\x00"), ok, "Ill"},
		{"e", ca.DBRString, []byte("1\x00"), ok, "On"},
		{"e", ca.DBRString, []byte("Never\x00"), fail, "On"},
		{"e", ca.DBREnum, []byte{0, 9}, ok, ""},
		{"ro", ca.DBRDouble, double(2), refused, "1"},
		{"d.NAME", ca.DBRString, []byte("x\x00"), refused, "d"},
		{"d.EGU", ca.DBRString, []byte("a unit of 17 byte\x00"), fail, ""},
	}
	c := dial(t, start(t, Options{Records: records}))
	channels := map[string]created{}
	for _, tt := range tests {
		ch, known := channels[tt.name]
		if !known {
			ch = c.create(tt.name)
			channels[tt.name] = ch
		}
		if got := c.put(ch.sid, tt.d, 1, tt.payload...); got != tt.status {
			t.Errorf("put %q as %v to %s: %s, want %s", tt.payload, tt.d, tt.name, ca.StatusName(got), ca.StatusName(tt.status))
		}
		if got := c.text(ch.sid); got != tt.want {
			t.Errorf("after %q as %v %s is %q, want %q", tt.payload, tt.d, tt.name, got, tt.want)
		}
		if writable := ch.rights&ca.AccessWrite != 0; writable == (tt.status == refused) || ch.rights&ca.AccessRead == 0 {
			t.Errorf("%s: rights %b", tt.name, ch.rights)
		}
	}
}

func TestWriteOfArrays(t *testing.T) {
	ioc := start(t, Options{Records: []Record{{Name: "w", Type: ca.DBRLong, Count: 3}, {Name: "s", Type: ca.DBRString, Count: 2}}})
	c := dial(t, ioc)
	w, s := c.create("w").sid, c.create("s").sid
	tests := []struct {
		sid   uint32
		d     ca.DBR
		count uint32
		data  []byte
		want  []byte // in the native type
	}{
		{w, ca.DBRShort, 2, []byte{0, 1, 0xFF, 0xFF}, []byte{0, 0, 0, 1, 255, 255, 255, 255}},
		{w, ca.DBRChar, 5, []byte{1, 2, 3, 4, 5}, []byte{0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}}, // cut to NELM
		{w, ca.DBRString, 2, append(padded("7"), padded("8")...), []byte{0, 0, 0, 7, 0, 0, 0, 8}},
		{w, ca.DBRLong, 0, nil, nil}, // empties it
		{s, ca.DBRString, 2, append(padded("a"), padded("")...), append(padded("a"), padded("")...)},
		{s, ca.DBRLong, 1, []byte{0, 0, 0, 42}, padded("42")},
	}
	for i, tt := range tests {
		if got := c.put(tt.sid, tt.d, tt.count, tt.data...); got != ca.StatusNormal {
			t.Fatalf("put %d: %s", i, ca.StatusName(got))
		}
		native := ca.DBRLong
		if tt.sid == s {
			native = ca.DBRString
		}
		h, p := c.get(tt.sid, native, 0)
		if got := p[:native.Size(h.Count)]; !bytes.Equal(got, tt.want) {
			t.Errorf("put %d: the record holds %x, want %x", i, got, tt.want)
		}
	}
}

// A put ends the undefined state: the record has processed.
func TestWriteProcessesTheRecord(t *testing.T) {
	ioc := start(t, Options{Records: []Record{{Name: "v", Type: ca.DBRDouble, Limits: demoRange(0, 100)}}})
	c := dial(t, ioc)
	sid := c.create("v").sid
	c.subscribe(sid, 1, ca.DBRTimeDouble, 0, masks)
	_, p := c.update(1)
	before := timeDouble(p)
	c.message(ca.Header{Command: ca.CmdWrite, DataType: uint16(ca.DBRDouble), Count: 1, P1: sid}, double(99)...)
	_, p = c.update(1)
	if after := timeDouble(p); before.status != 17 || after.status != 3 || after.severity != 2 || !after.time.After(before.time) {
		t.Errorf("%+v, then %+v", before, after)
	}
	ack := func() (uint16, uint16) {
		_, p := c.get(sid, ca.DBRStsAckString, 1)
		return binary.BigEndian.Uint16(p[4:]), binary.BigEndian.Uint16(p[6:])
	}
	if transient, severity := ack(); transient != 1 || severity != 2 {
		t.Errorf("to acknowledge: %d, %d", transient, severity)
	}
	for _, put := range []struct {
		d                   ca.DBR
		x                   byte
		transient, severity uint16
	}{{ca.DBRPutAckS, 1, 1, 2}, {ca.DBRPutAckS, 2, 1, 0}, {ca.DBRPutAckT, 0, 0, 0}} {
		if got := c.put(sid, put.d, 1, 0, put.x); got != ca.StatusNormal {
			t.Fatal(ca.StatusName(got))
		}
		if transient, severity := ack(); transient != put.transient || severity != put.severity {
			t.Errorf("after %v %d: %d, %d", put.d, put.x, transient, severity)
		}
	}
}

func TestFieldsAreChannels(t *testing.T) {
	ioc := start(t, Options{Prefix: "x:", Records: []Record{
		{Name: "ai", Type: ca.DBRDouble, Value: 1.5, Rate: 0, Desc: "an analog", Units: "mm", Precision: 3, MDEL: 1, ADEL: 2,
			Limits: Limits{HOPR: 10, LOPR: -10, HIHI: 9, HIGH: 8, LOW: -8, LOLO: -9, Alarm: true}},
		{Name: "li", Type: ca.DBRLong, Rate: 1, Limits: Limits{HOPR: 10}}, {Name: "st", Type: ca.DBRString, Value: "text"},
		{Name: "bi", Type: ca.DBREnum, Labels: []string{"a", "b"}}, {Name: "mb", Type: ca.DBREnum, Labels: []string{"a", "b", "c"}, Rate: 0.5},
		{Name: "wf", Type: ca.DBRFloat, Count: 7}, {Name: "f", Type: ca.DBRFloat},
		{Name: strings.Repeat("long", 12), Type: ca.DBRDouble},
	}})
	c := dial(t, ioc)
	long := "x:" + strings.Repeat("long", 12)
	for _, tt := range []struct {
		name   string
		native ca.DBR
		count  uint32
		want   string
	}{
		{"x:ai.VAL", ca.DBRDouble, 1, "1.500"}, {"x:ai.", ca.DBRDouble, 1, "1.500"}, {"x:ai.RTYP", ca.DBRString, 1, "ai"},
		{"x:ai.NAME", ca.DBRString, 1, "x:ai"}, {"x:ai.DESC", ca.DBRString, 1, "an analog"}, {"x:ai.EGU", ca.DBRString, 1, "mm"},
		{"x:ai.PREC", ca.DBRShort, 1, "3"}, {"x:ai.HOPR", ca.DBRDouble, 1, "10.000"}, {"x:ai.LOPR", ca.DBRDouble, 1, "-10.000"},
		{"x:ai.HIHI", ca.DBRDouble, 1, "9.000"}, {"x:ai.HIGH", ca.DBRDouble, 1, "8.000"}, {"x:ai.LOW", ca.DBRDouble, 1, "-8.000"},
		{"x:ai.LOLO", ca.DBRDouble, 1, "-9.000"}, {"x:ai.MDEL", ca.DBRDouble, 1, "1.000"}, {"x:ai.ADEL", ca.DBRDouble, 1, "2.000"},
		{"x:ai.SCAN", ca.DBREnum, 1, "Passive"}, {"x:li.SCAN", ca.DBREnum, 1, "1 second"}, {"x:mb.SCAN", ca.DBREnum, 1, "2 second"},
		{"x:li.RTYP", ca.DBRString, 1, "longin"}, {"x:st.RTYP", ca.DBRString, 1, "stringin"}, {"x:bi.RTYP", ca.DBRString, 1, "bi"},
		{"x:mb.RTYP", ca.DBRString, 1, "mbbi"}, {"x:wf.RTYP", ca.DBRString, 1, "waveform"}, {"x:f.RTYP", ca.DBRString, 1, "waveform"},
		{"x:li.HOPR", ca.DBRLong, 1, "10"}, {"x:wf.NELM", ca.DBRDouble, 1, "7"}, {"x:wf.FTVL", ca.DBREnum, 1, "FLOAT"},
		{long + ".NAME", ca.DBRString, 1, long[:39]},
	} {
		ch := c.create(tt.name)
		if got := c.text(ch.sid); ch.native != tt.native || ch.count != tt.count || got != tt.want {
			t.Errorf("%s: %v[%d] %q, want %v[%d] %q", tt.name, ch.native, ch.count, got, tt.native, tt.count, tt.want)
		}
	}
	for name, want := range map[string]string{long + ".NAME$": long, "x:ai.DESC$": "an analog", "x:st.$": "text", "x:st.VAL$": "text", "x:ai.EGU$": "mm"} {
		h, p := c.get(c.create(name).sid, ca.DBRTimeChar, 0)
		if int(h.Count) != len(want)+1 || cString(p[15:]) != want {
			t.Errorf("%s: %d elements, %q", name, h.Count, p[15:])
		}
	}
	for _, name := range []string{"x:ai.NOPE", "x:ai.VAL$", "x:ai.PREC$", "x:ai.RTYP$", "x:st.EGU", "x:bi.HIHI", "x:wf.HIHI", "x:li.PREC", "x:ai.NELM", "x:ai.{}", "x:ai.VAL.VAL", "ai", ".VAL", ""} {
		if ioc.find(name) != nil {
			t.Errorf("%q is served", name)
		}
	}
}

func TestFieldsFollowPuts(t *testing.T) {
	ioc := start(t, Options{Records: []Record{{Name: "v", Type: ca.DBRDouble, Value: 50.0, Limits: Limits{HIHI: 90, HIGH: 80, Alarm: true}}, {Name: "s", Type: ca.DBRString}}})
	c := dial(t, ioc)
	v, hihi, egu, long := c.create("v").sid, c.create("v.HIHI").sid, c.create("v.EGU").sid, c.create("v.EGU$").sid
	c.subscribe(hihi, 1, ca.DBRTimeDouble, 0, masks)
	_, p := c.update(1)
	first := timeDouble(p)
	c.subscribe(v, 2, ca.DBRCtrlDouble, 1, ca.MaskProperty)
	c.update(2)
	c.subscribe(long, 3, ca.DBRTimeChar, 0, masks)
	c.update(3)
	c.message(ca.Header{Command: ca.CmdWrite, DataType: uint16(ca.DBRDouble), Count: 1, P1: hihi}, double(40)...)
	_, p = c.update(2)
	if m, err := ca.DecodeCtrl(ca.DBRCtrlDouble, 1, p); err != nil || m.Limits["HIHI"] != 40 || m.Limits["HIGH"] != 80 {
		t.Errorf("properties %+v, %v", m, err)
	}
	_, p = c.update(1)
	if got := timeDouble(p); got.value != 40 || got.time != first.time {
		t.Errorf("HIHI %+v, want 40 with the record's stamp %v", got, first.time)
	}
	c.message(ca.Header{Command: ca.CmdWrite, DataType: uint16(ca.DBRString), Count: 1, P1: egu}, []byte("km\x00")...)
	c.update(2)
	if h, p := c.update(3); h.Count != 3 || cString(p[15:]) != "km" {
		t.Errorf("EGU$ %d %q", h.Count, p[15:])
	}
	mustPut(t, ioc, "v", 50.0) // now beyond HIHI
	if _, p := c.get(v, ca.DBRTimeDouble, 1); timeDouble(p).status != 3 {
		t.Errorf("alarm status %d, want HIHI", timeDouble(p).status)
	}
	s := c.create("s.VAL$").sid
	if got := c.put(s, ca.DBRChar, 6, []byte("hello\x00")...); got != ca.StatusNormal {
		t.Error(ca.StatusName(got))
	}
	if got := c.text(c.create("s").sid); got != "hello" {
		t.Errorf("s is %q after a put to its long form", got)
	}
}
