package ca

import (
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"pvlog/schema"
)

// stamp is 2024-01-02T03:04:05.5Z.
var stamp = schema.Time{Sec: 1704164645, Nsec: 500_000_000}

var decodeTests = []struct {
	name     string
	native   DBR
	waveform bool
	values   any // as sent
	want     any // as decoded by schema
	as       schema.DBRType
}{
	{"string", DBRString, false, []string{"abc"}, "abc", schema.ScalarString},
	{"empty string", DBRString, false, []string{""}, "", schema.ScalarString},
	{"latin-1 string", DBRString, false, []string{"\xb0C"}, "°C", schema.ScalarString},
	{"short", DBRShort, false, []int16{-32768}, int32(-32768), schema.ScalarShort},
	{"float", DBRFloat, false, []float32{1.5}, float32(1.5), schema.ScalarFloat},
	{"enum above its labels", DBREnum, false, []uint16{65535}, int32(65535), schema.ScalarEnum},
	{"char", DBRChar, false, []byte{200}, []byte{200}, schema.ScalarByte},
	{"char zero", DBRChar, false, []byte{0}, []byte{0}, schema.ScalarByte},
	{"long", DBRLong, false, []int32{math.MinInt32}, int32(math.MinInt32), schema.ScalarInt},
	{"double", DBRDouble, false, []float64{math.Inf(-1)}, math.Inf(-1), schema.ScalarDouble},
	{"first of a scalar's two", DBRDouble, false, []float64{1, 2}, 1.0, schema.ScalarDouble},
	{"strings", DBRString, true, []string{"", "b", ""}, []string{"", "b", ""}, schema.WaveformString},
	{"shorts", DBRShort, true, []int16{-1, 0, 300}, []int32{-1, 0, 300}, schema.WaveformShort},
	{"floats", DBRFloat, true, []float32{0.5, -2}, []float32{0.5, -2}, schema.WaveformFloat},
	{"enums", DBREnum, true, []uint16{0, 40000}, []int32{0, 40000}, schema.WaveformEnum},
	{"chars", DBRChar, true, []byte("ab\x00c"), []byte("ab\x00c"), schema.WaveformByte},
	{"longs", DBRLong, true, []int32{-7, 8}, []int32{-7, 8}, schema.WaveformInt},
	{"doubles", DBRDouble, true, []float64{0.1, -0.25}, []float64{0.1, -0.25}, schema.WaveformDouble},
	{"waveform of one", DBRDouble, true, []float64{3}, []float64{3}, schema.WaveformDouble},
	{"char waveform of one", DBRChar, true, []byte{'x'}, []byte{'x'}, schema.WaveformByte},
	{"string waveform of none", DBRString, true, []string{}, []string(nil), schema.WaveformString},
	{"short waveform of none", DBRShort, true, []int16{}, []int32(nil), schema.WaveformShort},
	{"float waveform of none", DBRFloat, true, []float32{}, []float32(nil), schema.WaveformFloat},
	{"enum waveform of none", DBREnum, true, []uint16{}, []int32(nil), schema.WaveformEnum},
	{"char waveform of none", DBRChar, true, []byte{}, []byte{}, schema.WaveformByte},
	{"long waveform of none", DBRLong, true, []int32{}, []int32(nil), schema.WaveformInt},
	{"double waveform of none", DBRDouble, true, []float64{}, []float64(nil), schema.WaveformDouble},
}

// encodeTime makes a payload as a real IOC does: with garbage in the padding.
func encodeTime(t testing.TB, d DBR, values any) (payload []byte, count uint32) {
	t.Helper()
	payload, err := AppendTime(nil, d, 2, 3, stamp, values)
	if err != nil {
		t.Fatal(err)
	}
	for i := 12; i < d.ValueOffset(); i++ {
		payload[i] = 0xAA
	}
	return payload, uint32(reflect.ValueOf(values).Len())
}

func TestDecodeTimeKeepsWhatTheIOCSent(t *testing.T) {
	for _, test := range decodeTests {
		t.Run(test.name, func(t *testing.T) {
			d := test.native.Time()
			payload, count := encodeTime(t, d, test.values)
			if int64(len(payload)) != d.Size(count) {
				t.Fatalf("encoded %d bytes, Size says %d", len(payload), d.Size(count))
			}
			padded := append(payload, 0xBB, 0xBB, 0xBB)
			event, s, err := DecodeTime([]byte("before"), d, count, test.waveform, padded)
			if err != nil {
				t.Fatal(err)
			}
			if want := (Stamp{Time: stamp, Year: 2024, Severity: 2, Status: 3, Type: test.as}); s != want {
				t.Errorf("got %+v, want %+v", s, want)
			}
			got, err := schema.DecodeSample(s.Type, s.Year, []byte(strings.TrimPrefix(string(event), "before")))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got.Value, test.want) || got.Time != stamp || got.Severity != 2 || got.Status != 3 {
				t.Errorf("got %#v, want %#v", got, test.want)
			}
		})
	}
}

// TestDecodeTimeIsExactToTheBit: NaN payloads, signed zeros and denormals.
func TestDecodeTimeIsExactToTheBit(t *testing.T) {
	for _, bits := range []uint64{0x7ff8000000000001, 0xfff0000000000001, 1 << 63, 1} {
		v := math.Float64frombits(bits)
		payload, n := encodeTime(t, DBRTimeDouble, []float64{v})
		event, s, err := DecodeTime(nil, DBRTimeDouble, n, false, payload)
		if err != nil {
			t.Fatal(err)
		}
		e, err := schema.ScanEvent(event)
		if err != nil || binary.LittleEndian.Uint64(e.Val[1:]) != bits {
			t.Errorf("%x came out as %x of %v, %v", bits, e.Val, s.Type, err)
		}
	}
}

func TestDecodeTimeStringOfFortyBytesHasNoNUL(t *testing.T) {
	payload, _ := encodeTime(t, DBRTimeString, []string{"x"})
	copy(payload[12:], strings.Repeat("y", 40))
	event, s, err := DecodeTime(nil, DBRTimeString, 1, false, append(payload, "zzzz"...))
	if err != nil {
		t.Fatal(err)
	}
	got, err := schema.DecodeSample(s.Type, s.Year, event)
	if err != nil || got.Value != strings.Repeat("y", 40) {
		t.Errorf("got %q, %v", got.Value, err)
	}
}

func TestDecodeTimeKeepsIllegalNanoseconds(t *testing.T) {
	payload, n := encodeTime(t, DBRTimeLong, []int32{1})
	binary.BigEndian.PutUint32(payload[4:], math.MaxUint32)
	binary.BigEndian.PutUint32(payload[8:], math.MaxUint32)
	event, s, err := DecodeTime(nil, DBRTimeLong, n, false, payload)
	if err != nil || s.Time.Nsec != math.MaxUint32 || s.Time.Legal() || s.Year != 2126 {
		t.Fatalf("got %+v, %v", s, err)
	}
	if got, err := schema.DecodeSample(s.Type, s.Year, event); err != nil || got.Time != s.Time {
		t.Errorf("got %+v, %v; want %+v", got.Time, err, s.Time)
	}
}

func TestYearOfAgreesWithTheCalendar(t *testing.T) {
	check := func(seconds uint32) {
		year, start := yearOf(seconds)
		want := schema.Time{Sec: schema.EPICSEpoch + int64(seconds)}.Year()
		if year != want || start != schema.YearStart(want) {
			t.Fatalf("second %d: got %d from %d, want %d", seconds, year, start, want)
		}
	}
	check(0)
	check(math.MaxUint32)
	for year := firstYear + 1; year <= lastYear; year++ {
		start := schema.YearStart(year) - schema.EPICSEpoch
		check(uint32(start))
		check(uint32(start - 1))
	}
}

func TestDecodeTimeRefusesWhatCannotBe(t *testing.T) {
	tests := []struct {
		name     string
		d        DBR
		count    uint32
		waveform bool
		size     int
	}{
		{"huge count", DBRTimeDouble, math.MaxUint32, true, 64},
		{"short payload", DBRTimeDouble, 1, false, 16},
		{"char in eight bytes", DBRTimeChar, 1, false, 8},
		{"nothing", DBRTimeDouble, 0, true, 0},
		{"scalar without a value", DBRTimeDouble, 0, false, 16},
		{"plain type", DBRDouble, 1, false, 8},
		{"type 255", 255, 1, false, 64},
		{"class name", DBRClassName, 1, false, 40},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dst, _, err := DecodeTime([]byte("x"), test.d, test.count, test.waveform, make([]byte, test.size))
			if !errors.Is(err, ErrMalformed) || string(dst) != "x" {
				t.Errorf("got %q, %v", dst, err)
			}
		})
	}
}

func TestDecodeTimeTellsAnEmptyScalarFromDamage(t *testing.T) {
	payload, _ := encodeTime(t, DBRTimeDouble, []float64{})
	if _, _, err := DecodeTime(nil, DBRTimeDouble, 0, false, payload); !errors.Is(err, ErrNoValue) {
		t.Errorf("got %v", err)
	}
	if _, _, err := DecodeTime(nil, DBRTimeDouble, 1, false, payload); errors.Is(err, ErrNoValue) {
		t.Errorf("got %v", err)
	}
	text, _ := encodeTime(t, DBRTimeString, []string{})
	event, stamp, err := DecodeTime(nil, DBRTimeString, 0, false, text)
	if s, bad := schema.DecodeSample(schema.ScalarString, stamp.Year, event); err != nil || bad != nil || s.Value != "" {
		t.Errorf("a string record without text: %+v, %v, %v", s, err, bad)
	}
}

func FuzzDecodeTime(f *testing.F) {
	for _, b := range wire(f) {
		if h, n, err := ParseHeader(b); err == nil && n > 0 {
			f.Add(h.DataType, h.Count, h.Count != 1, b[n:])
		}
	}
	for _, test := range decodeTests {
		payload, n := encodeTime(f, test.native.Time(), test.values)
		f.Add(uint16(test.native.Time()), n, test.waveform, payload)
	}
	f.Fuzz(func(t *testing.T, d uint16, count uint32, waveform bool, payload []byte) {
		event, s, err := DecodeTime(nil, DBR(d), count, waveform, payload)
		if err != nil {
			return
		}
		if _, err := schema.DecodeSample(s.Type, s.Year, event); err != nil {
			t.Fatalf("%v x %d: %v", DBR(d), count, err)
		}
		// What was written may be stamped and compared by its parts alone.
		if e, err := schema.ScanEvent(event); err != nil || e.Time(s.Year) != s.Time {
			t.Fatalf("%v x %d: %+v, %v; want %v", DBR(d), count, e, err, s.Time)
		}
	})
}
