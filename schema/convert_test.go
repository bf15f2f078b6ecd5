package schema

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

// eventOf is an event of a type with a value as DecodeSample gives it, an
// alarm, and a field.
func eventOf(t testing.TB, typ DBRType, value any) []byte {
	t.Helper()
	b := AppendHead(nil, Time{Sec: 1_700_000_000, Nsec: 7})
	switch v := value.(type) {
	case string:
		b = AppendString(b, []byte(v))
	case []string:
		for _, s := range v {
			b = AppendString(b, []byte(s))
		}
	case int32:
		if typ == ScalarInt {
			b = AppendInt(b, v)
		} else {
			b = AppendSint(b, v)
		}
	case []int32:
		if typ == WaveformInt {
			b = AppendInts(b, len(v), func(i int) int32 { return v[i] })
		} else {
			b = AppendSints(b, len(v), func(i int) int32 { return v[i] })
		}
	case []byte:
		b = AppendBytes(b, v)
	case float32:
		b = AppendFloat(b, v)
	case []float32:
		b = AppendFloats(b, len(v), func(i int) float32 { return v[i] })
	case float64:
		b = AppendDouble(b, v)
	case []float64:
		b = AppendDoubles(b, len(v), func(i int) float64 { return v[i] })
	default:
		t.Fatalf("no event has a %T", value)
	}
	return AppendField(AppendAlarm(b, 1, 4), "EGU", "mm")
}

var (
	nan = math.NaN()
	inf = math.Inf(1)
)

// conversions are values, what becomes of them without loss (nil: refused), and
// with --lossy.
var conversions = []struct {
	name         string
	from, to     DBRType
	value        any
	want, nearby any // nearby nil: as want
	undefined    bool
}{
	{"widening", ScalarInt, ScalarDouble, int32(-2147483648), -2147483648.0, nil, false},
	{"float in double", ScalarFloat, ScalarDouble, float32(0.1), float64(float32(0.1)), nil, false},
	{"short in int", ScalarShort, ScalarInt, int32(-32768), int32(-32768), nil, false},
	{"byte is signed", ScalarByte, ScalarInt, []byte{0xfe}, int32(-2), nil, false},
	{"narrowing that fits", ScalarInt, ScalarByte, int32(-128), []byte{0x80}, nil, false},
	{"too large", ScalarInt, ScalarByte, int32(128), nil, []byte{0x7f}, false},
	{"too small", ScalarInt, ScalarShort, int32(-32769), nil, int32(-32768), false},
	{"whole double", ScalarDouble, ScalarInt, 2147483647.0, int32(2147483647), nil, false},
	{"double beyond int", ScalarDouble, ScalarInt, 2147483648.0, nil, int32(2147483647), false},
	{"fraction", ScalarDouble, ScalarInt, 2.5, nil, int32(2), false},
	{"fraction at the edge", ScalarDouble, ScalarInt, 2147483647.4, nil, int32(2147483647), false},
	{"minus zero", ScalarDouble, ScalarInt, math.Copysign(0, -1), int32(0), nil, false},
	{"double that is a float", ScalarDouble, ScalarFloat, 0.5, float32(0.5), nil, false},
	{"double that is none", ScalarDouble, ScalarFloat, 0.1, nil, float32(0.1), false},
	{"double beyond float", ScalarDouble, ScalarFloat, 1e300, nil, float32(inf), false},
	{"int that no float is", ScalarInt, ScalarFloat, int32(16777217), nil, float32(16777216), false},
	{"NaN stays", ScalarDouble, ScalarFloat, nan, float32(nan), nil, false},
	{"infinity stays", ScalarFloat, ScalarDouble, float32(-inf), -inf, nil, false},
	{"NaN in an integer", ScalarDouble, ScalarInt, nan, nil, int32(0), true},
	{"infinity in an integer", ScalarDouble, ScalarShort, -inf, nil, int32(-32768), false},
	{"enum to int", ScalarEnum, ScalarInt, int32(3), int32(3), nil, false},
	{"int to enum", ScalarInt, ScalarEnum, int32(1), int32(1), nil, false},
	{"no state is negative", ScalarInt, ScalarEnum, int32(-1), nil, int32(0), false},
	{"label", ScalarEnum, ScalarString, int32(1), "on", nil, false},
	{"label of two states", ScalarEnum, ScalarString, int32(2), "2", nil, false},
	{"state without label", ScalarEnum, ScalarString, int32(9), "9", nil, false},
	{"digits that are a label", ScalarEnum, ScalarString, int32(5), nil, "5", false},
	{"state of a label", ScalarString, ScalarEnum, "on", int32(1), nil, false},
	{"state by number", ScalarString, ScalarEnum, "2", int32(2), nil, false},
	{"no label", ScalarString, ScalarEnum, "maybe", nil, int32(0), true},
	{"number as text", ScalarDouble, ScalarString, 0.1, "0.1", nil, false},
	{"float as text", ScalarFloat, ScalarString, float32(0.1), "0.1", nil, false},
	{"NaN as text", ScalarDouble, ScalarString, nan, "NaN", nil, false},
	{"minus zero as text", ScalarDouble, ScalarString, math.Copysign(0, -1), "-0", nil, false},
	{"text as number", ScalarString, ScalarDouble, " -1.5e3 ", -1500.0, nil, false},
	{"text as float", ScalarString, ScalarFloat, "0.1", float32(0.1), nil, false},
	{"text with too many digits", ScalarString, ScalarFloat, "0.123456789", nil, float32(0.123456789), false},
	{"text that no double is", ScalarString, ScalarDouble, "9007199254740993", nil, 9007199254740992.0, false},
	{"text beyond double", ScalarString, ScalarDouble, "-1e999", nil, -inf, false},
	{"text that is no number", ScalarString, ScalarDouble, "abc", nil, nan, true},
	{"empty text as number", ScalarString, ScalarInt, "", nil, int32(0), true},
	{"scalar to array", ScalarDouble, WaveformDouble, 1.5, []float64{1.5}, nil, false},
	{"scalar to array of another type", ScalarShort, WaveformString, int32(7), []string{"7"}, nil, false},
	{"array of one", WaveformInt, ScalarDouble, []int32{8}, 8.0, nil, false},
	{"array of two", WaveformInt, ScalarDouble, []int32{8, 9}, nil, 8.0, false},
	{"empty array as number", WaveformDouble, ScalarInt, []float64{}, nil, int32(0), true},
	{"empty array as float", WaveformInt, ScalarFloat, []int32{}, nil, float32(nan), true},
	{"empty array as text", WaveformString, ScalarString, []string{}, nil, "", true},
	{"arrays", WaveformDouble, WaveformShort, []float64{1, -2}, []int32{1, -2}, nil, false},
	{"arrays with a fraction", WaveformDouble, WaveformByte, []float64{1, 1.2, 300}, nil, []byte{1, 1, 127}, false},
	{"empty arrays", WaveformDouble, WaveformFloat, []float64{}, []float32(nil), nil, false},
	{"empty bytes", WaveformDouble, WaveformByte, []float64{}, []byte{}, nil, false},
	{"enums to texts", WaveformEnum, WaveformString, []int32{0, 1}, []string{"off", "on"}, nil, false},
	{"texts to enums", WaveformString, WaveformEnum, []string{"on", "off"}, []int32{1, 0}, nil, false},
	{"long string", WaveformByte, ScalarString, []byte("grün\x00\x00"), "grün", nil, false},
	{"long string of Latin-1", WaveformByte, ScalarString, []byte("gr\xfcn"), nil, "grün", false},
	{"behind the NUL", WaveformByte, ScalarString, []byte("a\x00b"), nil, "a", false},
	{"text to bytes", ScalarString, WaveformByte, "grün", []byte("grün"), nil, false},
}

func convertOne(t *testing.T, c Conversion, event []byte) (Sample, bool, error) {
	t.Helper()
	out, lost, err := c.Append(nil, event)
	if err != nil {
		return Sample{}, false, err
	}
	s, err := DecodeSample(c.To, 2023, out)
	if err != nil {
		t.Fatalf("what became of it is no %v: %v", c.To, err)
	}
	was, err := ScanEvent(event)
	is, scanned := ScanEvent(out)
	if err != nil || scanned != nil || is.SecondsIntoYear != was.SecondsIntoYear || is.Nano != 7 || !bytes.Equal(is.Fields, was.Fields) {
		t.Errorf("time or fields changed: %+v, was %+v", is, was)
	}
	return s, lost, nil
}

func same(a, b any) bool {
	switch v := a.(type) {
	case float64:
		w, ok := b.(float64)
		return ok && (v == w && math.Signbit(v) == math.Signbit(w) || math.IsNaN(v) && math.IsNaN(w))
	case float32:
		w, ok := b.(float32)
		return ok && same(float64(v), float64(w))
	}
	return reflect.DeepEqual(a, b)
}

func TestConversionKeepsTheValueOrRefuses(t *testing.T) {
	labels := []string{"off", "on", "two", "two", "5"}
	for _, k := range conversions {
		t.Run(k.name, func(t *testing.T) {
			event := eventOf(t, k.from, k.value)
			c := Conversion{From: k.from, To: k.to, Labels: labels}
			if err := c.Check(); err != nil {
				t.Fatal(err)
			}
			got, lost, err := convertOne(t, c, event)
			switch {
			case k.want == nil && !errors.Is(err, ErrLoss):
				t.Errorf("%v became %v, %v; it must be refused", k.value, got.Value, err)
			case k.want != nil && (err != nil || lost || !same(got.Value, k.want) || got.Severity != 1 || got.Status != 4):
				t.Errorf("%v became %#v severity %d lost %v, %v; want %#v", k.value, got.Value, got.Severity, lost, err, k.want)
			}
			c.Lossy = true
			nearby := k.nearby
			if nearby == nil {
				nearby = k.want
			}
			got, lost, err = convertOne(t, c, event)
			if err != nil || lost != (k.want == nil) || !same(got.Value, nearby) {
				t.Errorf("lossy: %v became %#v lost %v, %v; want %#v", k.value, got.Value, lost, err, nearby)
			}
			if k.undefined != (got.Severity == 3 && got.Status == 17) {
				t.Errorf("lossy: alarm %d/%d", got.Severity, got.Status)
			}
		})
	}
}

func TestConversionSaysWhatItWouldLose(t *testing.T) {
	c := Conversion{From: WaveformDouble, To: WaveformShort}
	_, _, err := c.Append(nil, eventOf(t, WaveformDouble, []float64{1, 40000.5, 2.5}))
	if err == nil || err.Error() != "40000.5 cannot be converted without loss to DBR_WAVEFORM_SHORT" {
		t.Errorf("%v", err)
	}
	c = Conversion{From: ScalarString, To: ScalarInt}
	if _, _, err = c.Append(nil, eventOf(t, ScalarString, strings.Repeat("x", 1000))); err == nil || len(err.Error()) > 200 {
		t.Errorf("%v", err)
	}
}

func TestEveryPairOfTypesHasARuleOrARefusal(t *testing.T) {
	values := map[DBRType]any{
		ScalarString: "1", ScalarShort: int32(1), ScalarFloat: float32(1), ScalarEnum: int32(1), ScalarByte: []byte{1}, ScalarInt: int32(1), ScalarDouble: 1.0,
		WaveformString: []string{"1"}, WaveformShort: []int32{1}, WaveformFloat: []float32{1}, WaveformEnum: []int32{1}, WaveformByte: []byte{'1'}, WaveformInt: []int32{1}, WaveformDouble: []float64{1},
		V4GenericBytes: []byte{1},
	}
	for from, value := range values {
		for to := range values {
			c := Conversion{From: from, To: to}
			refused := from == to || from == V4GenericBytes || to == V4GenericBytes
			if err := c.Check(); (err != nil) != refused || err != nil && CodeOf(err) != Invalid {
				t.Errorf("%v to %v: %v", from, to, err)
			}
			if refused {
				continue
			}
			out, lost, err := c.Append(nil, eventOf(t, from, value))
			if err != nil || lost {
				t.Errorf("%v to %v: lost %v, %v", from, to, lost, err)
				continue
			}
			back, _, err := Conversion{From: to, To: from}.Append(nil, out)
			if err != nil || !bytes.Equal(back, eventOf(t, from, value)) {
				t.Errorf("%v to %v and back: %v\n%x, was\n%x", from, to, err, back, eventOf(t, from, value))
			}
		}
	}
}

func TestConversionKeepsWhatItDoesNotKnow(t *testing.T) {
	event := eventOf(t, ScalarInt, int32(5))
	extra := []byte{6 << 3, 9, 8 << 3, 1, 12<<3 | 2, 2, 'h', 'i'} // repeat count, change, an unknown record
	event = append(event, extra...)
	out, _, err := Conversion{From: ScalarInt, To: ScalarDouble}.Append([]byte("before"), event)
	if err != nil || !bytes.HasPrefix(out, []byte("before")) || !bytes.HasSuffix(out, extra) {
		t.Errorf("%x, %v", out, err)
	}
	s, err := DecodeSample(ScalarDouble, 2023, out[len("before"):])
	if err != nil || s.Value != 5.0 || !s.FieldsChanged || len(s.Fields) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}

func FuzzConversionTakesAnyBytes(f *testing.F) {
	f.Add(uint8(6), uint8(5), eventOf(f, ScalarDouble, 1.5), true)
	f.Add(uint8(7), uint8(10), eventOf(f, WaveformString, []string{"a", ""}), false)
	f.Add(uint8(11), uint8(0), eventOf(f, WaveformByte, []byte("a\x00")), true)
	f.Fuzz(func(t *testing.T, from, to uint8, event []byte, lossy bool) {
		c := Conversion{From: DBRType(from % 15), To: DBRType(to % 15), Labels: []string{"a"}, Lossy: lossy}
		if c.Check() != nil {
			return
		}
		out, lost, err := c.Append(nil, event)
		if err != nil {
			if !errors.Is(err, ErrEvent) && (lossy || !errors.Is(err, ErrLoss)) {
				t.Errorf("%v", err)
			}
			return
		}
		was, err := ScanEvent(event)
		is, scanned := ScanEvent(out)
		if err != nil || scanned != nil || was.SecondsIntoYear != is.SecondsIntoYear || was.Nano != is.Nano || lost && !lossy {
			t.Errorf("%x became %x: %v %v", event, out, err, scanned)
		}
		if _, err := DecodeSample(c.To, 2000, out); err != nil {
			t.Errorf("%v of %x", err, out)
		}
	})
}
