package integration

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"
	"time"
	"unicode/utf8"

	"pvlog/schema"
)

// update is what the witness (epics/record.py) wrote down: a sample as a
// client that is not pvlog saw it, and when.
type update struct {
	sample
	seen time.Time
}

// record is all that a witness saw of one PV.
type record struct {
	updates []update // in order of arrival
	lost    int      // how often its channel was disconnected
}

// witnessLine is one line of record.py.
type witnessLine struct {
	Event    string
	PV       string
	Seen     int64 // Unix nanoseconds
	Type     int   // native DBR type
	Count    int
	Status   int32
	Severity int32
	Secs     int64
	Nanos    uint32
	Value    []byte // base64 in JSON
	Updates  int
}

// readRecord reads a witness's file and fails the test unless it is whole and
// no update arrived without data.
func readRecord(t testing.TB, path string) map[string]*record {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	records := map[string]*record{}
	counts := map[string]int{}
	updates, end := 0, -1
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var line witnessLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v: %.200s", path, err, lines.Bytes())
		}
		r := records[line.PV]
		if r == nil && line.PV != "" {
			r = &record{}
			records[line.PV] = r
		}
		switch line.Event {
		case "connected":
			counts[line.PV] = line.Count
		case "disconnected":
			r.lost++
		case "update":
			updates++
			u, err := line.update(counts[line.PV])
			if err != nil {
				t.Fatalf("%s: %s: %v", path, line.PV, err)
			}
			r.updates = append(r.updates, u)
		case "end":
			end = line.Updates
		default:
			t.Fatalf("%s: the witness could not record everything: %s", path, lines.Bytes())
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if end != updates {
		t.Fatalf("%s is not whole: %d updates, its end says %d", path, updates, end)
	}
	return records
}

// lastSeen is when a witness wrote its newest whole line.
func lastSeen(path string) (time.Time, error) {
	file, err := os.Open(path)
	if err != nil {
		return time.Time{}, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return time.Time{}, err
	}
	tail := make([]byte, min(info.Size(), 1<<20)) // the longest line has some 200 kB
	if _, err := file.ReadAt(tail, info.Size()-int64(len(tail))); err != nil {
		return time.Time{}, err
	}
	lines := bytes.Split(tail, []byte{'\n'})
	if len(lines) < 2 {
		return time.Time{}, fmt.Errorf("%s has no line yet", path)
	}
	var line witnessLine
	if err := json.Unmarshal(lines[len(lines)-2], &line); err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", path, err)
	}
	return time.Unix(0, line.Seen), nil
}

// update decodes a line. A channel of one element holds scalars, any other
// waveforms: the Appliance's rule, which pvlog keeps. An update of no element
// is the empty string of a scalar (an lsi without text); of a number (a
// waveform of NELM=1 without data) it is no value that a scalar can hold.
func (l witnessLine) update(channelCount int) (update, error) {
	dbr := schema.DBRType(l.Type)
	if channelCount != 1 || l.Count == 0 && dbr != schema.ScalarString {
		dbr += schema.WaveformString
	}
	value, err := decodeElements(dbr, l.Count, l.Value)
	if err != nil {
		return update{}, err
	}
	return update{
		sample: sample{at: schema.Time{Sec: l.Secs, Nsec: l.Nanos}, severity: l.Severity, status: l.Status, dbr: dbr, value: value},
		seen:   time.Unix(0, l.Seen),
	}, nil
}

// elementBytes is the size of an element of each native type.
var elementBytes = []int{40, 2, 4, 2, 1, 4, 8}

// decodeElements gives the value of count elements as schema.Sample has it.
func decodeElements(dbr schema.DBRType, count int, b []byte) (any, error) {
	native := int(dbr)
	if dbr.Waveform() {
		native -= int(schema.WaveformString)
	}
	if native < 0 || native >= len(elementBytes) || len(b) != count*elementBytes[native] || !dbr.Waveform() && count > 1 {
		return nil, fmt.Errorf("%v with %d elements in %d bytes", dbr, count, len(b))
	}
	if !dbr.Waveform() && count == 0 {
		b = make([]byte, elementBytes[native])
	}
	le := binary.LittleEndian
	switch dbr {
	case schema.ScalarByte, schema.WaveformByte:
		return b, nil
	case schema.ScalarString:
		return caString(b), nil
	case schema.ScalarShort:
		return int32(int16(le.Uint16(b))), nil
	case schema.ScalarEnum:
		return int32(le.Uint16(b)), nil
	case schema.ScalarInt:
		return int32(le.Uint32(b)), nil
	case schema.ScalarFloat:
		return math.Float32frombits(le.Uint32(b)), nil
	case schema.ScalarDouble:
		return math.Float64frombits(le.Uint64(b)), nil
	case schema.WaveformString:
		return elements(count, func(i int) string { return caString(b[40*i : 40*i+40]) }), nil
	case schema.WaveformShort:
		return elements(count, func(i int) int32 { return int32(int16(le.Uint16(b[2*i:]))) }), nil
	case schema.WaveformEnum:
		return elements(count, func(i int) int32 { return int32(le.Uint16(b[2*i:])) }), nil
	case schema.WaveformInt:
		return elements(count, func(i int) int32 { return int32(le.Uint32(b[4*i:])) }), nil
	case schema.WaveformFloat:
		return elements(count, func(i int) float32 { return math.Float32frombits(le.Uint32(b[4*i:])) }), nil
	default:
		return elements(count, func(i int) float64 { return math.Float64frombits(le.Uint64(b[8*i:])) }), nil
	}
}

func elements[T any](n int, at func(int) T) []T {
	all := make([]T, n)
	for i := range all {
		all[i] = at(i)
	}
	return all
}

// caString is the text of 40 bytes: up to the first NUL, and Latin-1 if it is
// not UTF-8.
func caString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			b = b[:i]
			break
		}
	}
	if utf8.Valid(b) {
		return string(b)
	}
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

func TestWitnessLinesAreDecoded(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString
	text := make([]byte, 40)
	copy(text, "20 \xb0C\x00garbage")
	for _, c := range []struct {
		native, channel, count int
		value                  []byte
		dbr                    schema.DBRType
		want                   string
	}{
		{0, 1, 1, text, schema.ScalarString, "20 °C"},
		{1, 1, 1, []byte{0xfe, 0xff}, schema.ScalarShort, "-2"},
		{3, 1, 1, []byte{0xfe, 0xff}, schema.ScalarEnum, "65534"},
		{4, 1, 1, []byte{0x80}, schema.ScalarByte, "[128]"},
		{5, 1, 1, []byte{0xff, 0xff, 0xff, 0xff}, schema.ScalarInt, "-1"},
		{6, 10, 0, nil, schema.WaveformDouble, "[]"},
		{6, 1, 0, nil, schema.WaveformDouble, "[]"},
		{0, 1, 0, nil, schema.ScalarString, ""},
		{6, 10, 1, []byte{0, 0, 0, 0, 0, 0, 0xf8, 0x3f}, schema.WaveformDouble, "[1.5]"},
		{4, 10, 2, []byte{1, 255}, schema.WaveformByte, "[1 255]"},
		{1, 10, 2, []byte{1, 0, 2, 0}, schema.WaveformShort, "[1 2]"},
	} {
		var line witnessLine
		text := fmt.Sprintf(`{"event":"update","pv":"X","type":%d,"count":%d,"secs":1,"nanos":2,"value":%q}`, c.native, c.count, b64(c.value))
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		u, err := line.update(c.channel)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(u.value); u.dbr != c.dbr || got != c.want {
			t.Errorf("%s: %v %s, want %v %s", text, u.dbr, got, c.dbr, c.want)
		}
	}
	if _, err := decodeElements(schema.ScalarDouble, 1, make([]byte, 4)); err == nil {
		t.Error("a double of four bytes was decoded")
	}
}
