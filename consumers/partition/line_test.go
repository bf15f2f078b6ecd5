package partition

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pvlog/schema"
)

const year = 2026

var newYear = schema.YearStart(year)

// at is an instant of the test year.
func at(sec int64, nsec uint32) schema.Time { return schema.Time{Sec: newYear + sec, Nsec: nsec} }

// double is an event of the test year.
func double(t schema.Time, v float64) []byte {
	return schema.AppendDouble(schema.AppendHead(nil, t), v)
}

func doubleHeader() []byte {
	return AppendHeader(nil, Header{Type: schema.ScalarDouble, PV: "T:X", Year: year})
}

// write makes a file of these bytes.
func write(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "X:2026.pb")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// readAll reads a file to its end.
func readAll(t testing.TB, path string) (lines []Line, corrupt []*CorruptError) {
	t.Helper()
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	for {
		line, err := r.Next()
		if errors.Is(err, io.EOF) {
			if r.Skipped() != len(corrupt) {
				t.Errorf("Skipped is %d, there were %d errors", r.Skipped(), len(corrupt))
			}
			return lines, corrupt
		}
		if bad, ok := errors.AsType[*CorruptError](err); ok {
			corrupt = append(corrupt, bad)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		line.Event, line.Raw = bytes.Clone(line.Event), bytes.Clone(line.Raw)
		lines = append(lines, line)
	}
}

// TestLostLFsAreHealed has lines as older writers left them: status or severity
// 10 as a bare LF.
func TestLostLFsAreHealed(t *testing.T) {
	first := schema.AppendAlarm(double(at(1, 0), 1), 1, 10)
	file := append(doubleHeader(), AppendLine(nil, first[:len(first)-1])...) // ... 28 0a
	file = append(file, '\n')                                                // the line's own LF
	file = AppendLine(file, double(at(2, 0), 2))
	path := write(t, file)
	lines, corrupt := readAll(t, path)
	if len(lines) != 2 || len(corrupt) != 0 {
		t.Fatalf("%d lines, %v", len(lines), corrupt)
	}
	if !bytes.Equal(lines[0].Event, first) || string(lines[0].Raw) != string(AppendLine(nil, first)[:len(AppendLine(nil, first))-1]) {
		t.Errorf("healed to %x, raw %x, want %x", lines[0].Event, lines[0].Raw, first)
	}
	if tail, err := Check(path); err != nil || tail.Lines != 2 || tail.Cut != 0 {
		t.Errorf("Check gives %+v, %v", tail, err)
	}
	if event, ok, err := Find(path, at(1, 0)); !ok || err != nil || !bytes.Equal(event, first) {
		t.Errorf("Find gives %x, %v, %v", event, ok, err)
	}
	// The healed line as the last one, with and without its own LF.
	whole := len(file) - len(AppendLine(nil, double(at(2, 0), 2)))
	for _, n := range []int{whole, whole - 1} {
		path := write(t, file[:n])
		back, err := ReadTail(path)
		if err != nil || back.Last != at(1, 0) || back.Length != int64(n) || back.Cut != 0 {
			t.Errorf("%d bytes: ReadTail gives %+v, %v", n, back, err)
		}
		if forth, err := Check(path); err != nil || forth.Length != int64(n) || !bytes.Equal(forth.Event, back.Event) {
			t.Errorf("%d bytes: Check gives %+v, %v", n, forth, err)
		}
	}
}

func TestEachTypesValueIsKnownByItsWireType(t *testing.T) {
	head := slices.Clip(schema.AppendHead(nil, at(1, 0)))
	none := func(i int) float64 { return 0 }
	values := map[schema.DBRType][]byte{
		schema.ScalarString:   schema.AppendString(head, []byte("x")),
		schema.ScalarShort:    schema.AppendSint(head, -1),
		schema.ScalarFloat:    schema.AppendFloat(head, 1),
		schema.ScalarEnum:     schema.AppendSint(head, 3),
		schema.ScalarByte:     schema.AppendBytes(head, []byte{1}),
		schema.ScalarInt:      schema.AppendInt(head, 1),
		schema.ScalarDouble:   schema.AppendDouble(head, 1),
		schema.WaveformString: schema.AppendString(schema.AppendString(head, []byte("x")), []byte("y")),
		schema.WaveformShort:  schema.AppendSints(head, 2, func(int) int32 { return 1 }),
		schema.WaveformFloat:  schema.AppendFloats(head, 2, func(int) float32 { return 1 }),
		schema.WaveformEnum:   schema.AppendSints(head, 2, func(int) int32 { return 1 }),
		schema.WaveformByte:   schema.AppendBytes(head, []byte{1, 2}),
		schema.WaveformInt:    schema.AppendInts(head, 2, func(int) int32 { return 1 }),
		schema.WaveformDouble: schema.AppendDoubles(head, 2, none),
		schema.V4GenericBytes: schema.AppendBytes(head, []byte{1, 2}),
	}
	for typ := schema.ScalarString; typ <= schema.V4GenericBytes; typ++ {
		p := newParser(Header{Type: typ, PV: "X", Year: year})
		event := bytes.Clone(values[typ])
		raw := AppendLine(nil, event)
		line, healed, err := p.parse(raw[:len(raw)-1], 7)
		if err != nil || healed || line.Time != at(1, 0) || line.Offset != 7 || !bytes.Equal(line.Event, event) {
			t.Errorf("%v: %+v, %v, %v", typ, line, healed, err)
		}
		other := values[schema.ScalarDouble]
		if typ == schema.ScalarDouble || typ == schema.WaveformDouble {
			other = values[schema.ScalarEnum]
		}
		if _, _, err := p.parse(other, 0); !errors.Is(err, ErrLine) {
			t.Errorf("%v takes a value of another wire type: %v", typ, err)
		}
		_, _, err = p.parse(head, 0)
		if typ.Waveform() != (err == nil) {
			t.Errorf("%v without a value: %v", typ, err)
		}
	}
}

func TestTheLostByteOfAnyTypeComesBack(t *testing.T) {
	for _, orphan := range []byte{0x28, 0x20} { // status, severity
		for typ := schema.ScalarString; typ <= schema.V4GenericBytes; typ++ {
			t.Run(fmt.Sprintf("%v/%#x", typ, orphan), func(t *testing.T) {
				event := schema.AppendHead(nil, at(1, 0))
				switch {
				case typ == schema.ScalarShort || typ == schema.ScalarEnum:
					event = schema.AppendSint(event, 1)
				case typ == schema.ScalarInt || typ == schema.ScalarFloat:
					event = schema.AppendInt(event, 1)
				case typ == schema.ScalarDouble:
					event = schema.AppendDouble(event, 1)
				default:
					event = schema.AppendBytes(event, []byte{8, 8, 8, 8, 8, 8, 8, 8})
				}
				p := newParser(Header{Type: typ, Year: year})
				line, healed, err := p.parse(append(event, orphan), 0)
				if err != nil || !healed {
					t.Fatalf("%v, %v", healed, err)
				}
				s, err := schema.DecodeSample(typ, year, line.Event)
				if err != nil || s.Status+s.Severity != 10 || s.Time != at(1, 0) {
					t.Errorf("%+v, %v", s, err)
				}
			})
		}
	}
}

// TestALineWithoutATimeIsNotHealed: the Appliance makes a sample of second 0 of
// the bare byte; in a partition that is damage.
func TestALineWithoutATimeIsNotHealed(t *testing.T) {
	p := newParser(Header{Type: schema.ScalarDouble, Year: year})
	if line, _, err := p.parse([]byte{0x28}, 0); !errors.Is(err, ErrLine) {
		t.Errorf("%+v, %v", line, err)
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add(6, AppendLine(nil, double(at(1, 0), -0.09)))
	f.Add(6, []byte{0x08, 1, 0x10, 1, 0x19, 0, 0, 0, 0, 0, 0, 0, 0, 0x28})
	f.Add(8, []byte("\x08\x01\x10\x01\x1a\x02\x01\x01"))
	f.Fuzz(func(t *testing.T, typ int, raw []byte) {
		if typ < 0 || typ > 14 {
			return
		}
		p := newParser(Header{Type: schema.DBRType(typ), Year: year})
		line, healed, err := p.parse(raw, 0)
		if err != nil {
			if !errors.Is(err, ErrLine) {
				t.Fatalf("%v is not ErrLine", err)
			}
			return
		}
		if plain, err := AppendUnescaped(nil, line.Raw); err != nil || !bytes.Equal(plain, line.Event) {
			t.Fatalf("raw %x is not event %x: %v", line.Raw, line.Event, err)
		}
		if again, healedAgain, err := p.parse(bytes.Clone(line.Raw), 0); err != nil || again.Time != line.Time || healed && healedAgain {
			t.Fatalf("read again: %+v, %v, %v", again, healedAgain, err)
		}
	})
}
