package partition

import (
	"bytes"
	"errors"
	"io"
	"math"
	"path/filepath"
	"testing"

	"pvlog/schema"
)

// everyByte are all bytes, among them those that a line escapes.
func everyByte(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// hostile are values of each type that a file must give back: every byte, no
// byte, numbers that are none, one line of megabytes.
func hostile() map[schema.DBRType][]func([]byte) []byte {
	const large = 1 << 16
	text := func(s string) func([]byte) []byte {
		return func(b []byte) []byte { return schema.AppendString(b, []byte(s)) }
	}
	raw := func(v []byte) func([]byte) []byte {
		return func(b []byte) []byte { return schema.AppendBytes(b, v) }
	}
	sint := func(v int32) func([]byte) []byte { return func(b []byte) []byte { return schema.AppendSint(b, v) } }
	sints := func(n int, v int32) func([]byte) []byte {
		return func(b []byte) []byte { return schema.AppendSints(b, n, func(i int) int32 { return v + int32(i) }) }
	}
	nan := math.NaN()
	return map[schema.DBRType][]func([]byte) []byte{
		schema.ScalarString: {text(""), text(string(everyByte(256))), text("a\nb\rc\x1bd\x00"), text("grün")},
		schema.ScalarShort:  {sint(math.MinInt16), sint(math.MaxInt16), sint(10), sint(-14)}, // 10 and 13 as bytes are escaped
		schema.ScalarEnum:   {sint(0), sint(65535), sint(5)},
		schema.ScalarByte:   {raw([]byte{0}), raw([]byte{'\n'}), raw([]byte{0x1b}), raw([]byte{0xff})},
		schema.ScalarInt: {func(b []byte) []byte { return schema.AppendInt(b, math.MinInt32) },
			func(b []byte) []byte { return schema.AppendInt(b, 0x0a0d1b0a) }},
		schema.ScalarFloat: {func(b []byte) []byte { return schema.AppendFloat(b, float32(nan)) },
			func(b []byte) []byte { return schema.AppendFloat(b, float32(math.Inf(-1))) }},
		schema.ScalarDouble: {func(b []byte) []byte { return schema.AppendDouble(b, nan) },
			func(b []byte) []byte { return schema.AppendDouble(b, math.Inf(1)) },
			func(b []byte) []byte { return schema.AppendDouble(b, math.Copysign(0, -1)) },
			func(b []byte) []byte { return schema.AppendDouble(b, math.Float64frombits(0x0a0d1b0a0d1b0a0d)) }},
		schema.WaveformString: {func(b []byte) []byte { return b }, // no element
			func(b []byte) []byte { return text("")(text(string(everyByte(256)))(text("")(b))) }},
		schema.WaveformShort: {func(b []byte) []byte { return b }, sints(3*large, -100)},
		schema.WaveformEnum:  {sints(16, 0)},
		schema.WaveformByte:  {raw(nil), raw(everyByte(256)), raw(everyByte(5 << 20)), raw(bytes.Repeat([]byte{'\n'}, large))},
		schema.WaveformInt:   {func(b []byte) []byte { return schema.AppendInts(b, large, func(i int) int32 { return int32(i) << 8 }) }},
		schema.WaveformFloat: {func(b []byte) []byte {
			return schema.AppendFloats(b, 3, func(i int) float32 { return []float32{float32(nan), float32(math.Inf(1)), 0}[i] })
		}},
		schema.WaveformDouble: {func(b []byte) []byte {
			return schema.AppendDoubles(b, large, func(i int) float64 { return []float64{nan, math.Inf(1), 1, math.Inf(-1)}[i%4] })
		}},
		schema.V4GenericBytes: {raw(nil), raw(everyByte(256)), raw(everyByte(4 * large))},
	}
}

// TestEveryTypeComesBackFromItsFile writes such values, with fields of any byte
// and the tag of V4, and reads, searches and checks the file.
func TestEveryTypeComesBackFromItsFile(t *testing.T) {
	if n := len(hostile()); n != 15 {
		t.Fatalf("%d types", n)
	}
	for typ, values := range hostile() {
		t.Run(typ.String(), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "PV:2023.pb")
			var events [][]byte
			var lines []byte
			for i, value := range values {
				event := value(schema.AppendHead(nil, schema.TimeFromYear(2023, uint32(10+i), uint32(i))))
				event = schema.AppendAlarm(event, 3, 17)
				event = schema.AppendField(event, "DESC", string(everyByte(256)))
				event = schema.AppendFieldsChanged(event, true)
				if typ == schema.V4GenericBytes {
					event = append(event, 9<<3, 10) // userTag, the byte of an LF
				}
				events, lines = append(events, event), AppendLine(lines, event)
			}
			length, _, err := Append(OSFS{}, path, AppendHeader(nil, Header{Type: typ, PV: "PV", Year: 2023}), lines, 0)
			if err != nil {
				t.Fatal(err)
			}
			tail, err := Check(path)
			if err != nil || tail.Length != length || tail.Lines != len(events) || !bytes.Equal(tail.Event, events[len(events)-1]) {
				t.Errorf("check: %d of %d bytes, %d lines, %v", tail.Length, length, tail.Lines, err)
			}
			if quick, err := ReadTail(path); err != nil || quick.Last != tail.Last || quick.Length != length {
				t.Errorf("tail: %v, %v, %d bytes", err, quick.Last, quick.Length)
			}
			comesBack(t, path, events)
			for i, want := range events {
				got, found, err := Find(path, schema.TimeFromYear(2023, uint32(10+i), uint32(i)))
				if err != nil || !found || !bytes.Equal(got, want) {
					t.Errorf("event %d is not found as it was: %v %v", i, found, err)
				}
				if s, err := schema.DecodeSample(typ, 2023, got); err != nil || s.Severity != 3 || len(s.Fields) != 1 || s.Fields[0].Val != string(everyByte(256)) {
					t.Errorf("event %d decoded: %v, %d fields", i, err, len(s.Fields))
				}
			}
		})
	}
}

func comesBack(t *testing.T, path string, want [][]byte) {
	t.Helper()
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // was only read
	for i := 0; ; i++ {
		line, err := r.Next()
		if errors.Is(err, io.EOF) {
			if i != len(want) || r.Skipped() != 0 {
				t.Errorf("%d samples, %d skipped; want %d", i, r.Skipped(), len(want))
			}
			return
		}
		if err != nil || i >= len(want) || !bytes.Equal(line.Event, want[i]) {
			t.Fatalf("sample %d: %v", i, err)
		}
	}
}
