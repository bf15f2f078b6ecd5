package ca

import (
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

var limits = map[string]float64{
	"HOPR": 100, "LOPR": 1, "HIHI": 90, "HIGH": 80, "LOW": 20, "LOLO": 10, "DRVH": 95, "DRVL": 5,
}

func zeroOf(native DBR) any {
	return [...]any{[]string{"v"}, []int16{1}, []float32{1}, []uint16{1}, []byte{1}, []int32{1}, []float64{1}}[native]
}

func TestDecodeCtrlReadsEveryType(t *testing.T) {
	for native := DBRString; native <= DBRDouble; native++ {
		for _, class := range []Class{GR, CTRL} {
			d := native + 7*DBR(class)
			in := Metadata{Units: "mA", Precision: 3, Limits: limits, EnumStrings: []string{"Zero", "", "Zwei"}}
			payload, err := AppendDBR(nil, d, Properties{Metadata: in}, zeroOf(native))
			if err != nil {
				t.Fatal(err)
			}
			if int64(len(payload)) != d.Size(1) {
				t.Errorf("%v: encoded %d bytes, want %d", d, len(payload), d.Size(1))
			}
			got, err := DecodeCtrl(d, 1, payload)
			if err != nil {
				t.Fatal(err)
			}
			if want := expected(d, in); !reflect.DeepEqual(got, want) {
				t.Errorf("%v: got %+v, want %+v", d, got, want)
			}
		}
	}
}

// expected leaves of m what type d can carry.
func expected(d DBR, m Metadata) Metadata {
	switch d.Native() {
	case DBRString:
		return Metadata{}
	case DBREnum:
		return Metadata{EnumStrings: m.EnumStrings}
	}
	out := Metadata{Units: m.Units, Limits: map[string]float64{}}
	if d.Native() == DBRFloat || d.Native() == DBRDouble {
		out.Precision = m.Precision
	}
	for name, v := range m.Limits {
		if d.Class() == CTRL || !strings.HasPrefix(name, "DRV") {
			out.Limits[name] = v
		}
	}
	return out
}

// TestSizesOfAllTypes is the table of the protocol's header db_access.h.
func TestSizesOfAllTypes(t *testing.T) {
	sizes := []int64{
		40, 2, 4, 2, 1, 4, 8,
		44, 6, 8, 6, 6, 8, 16,
		52, 16, 16, 16, 16, 16, 24,
		44, 26, 44, 424, 20, 40, 72,
		44, 30, 52, 424, 22, 48, 88,
		2, 2, 48, 40,
	}
	for i, want := range sizes {
		if got := DBR(i).Size(1); got != want {
			t.Errorf("%v: got %d, want %d", DBR(i), got, want)
		}
	}
	if got := DBRTimeDouble.Size(math.MaxUint32); got != 16+8*math.MaxUint32 {
		t.Errorf("got %d", got)
	}
}

func TestDecodeCtrlClampsWhatIsOdd(t *testing.T) {
	double := make([]byte, 88)
	copy(double[8:], "Volts\xb012") // all eight bytes, Latin-1
	binary.BigEndian.PutUint64(double[32:], math.Float64bits(math.NaN()))
	for _, p := range []int{-32768, 32767} {
		binary.BigEndian.PutUint16(double[4:], uint16(p))
		m, err := DecodeCtrl(DBRCtrlDouble, 1, double)
		if err != nil || m.Precision < -128 || m.Precision > 127 || m.Units != "Volts°12" || !math.IsNaN(m.Limits["HIHI"]) {
			t.Errorf("precision %d: got %+v, %v", p, m, err)
		}
	}
	enum := make([]byte, 424)
	for i := range enum[6:422] {
		enum[6+i] = 'x'
	}
	for n, want := range map[int]int{60000: 0, -1: 0, 17: 16, 16: 16, 0: 0} {
		binary.BigEndian.PutUint16(enum[4:], uint16(n))
		m, err := DecodeCtrl(DBRCtrlEnum, 1, enum)
		if err != nil || len(m.EnumStrings) != want {
			t.Errorf("%d labels: got %d, %v", n, len(m.EnumStrings), err)
		}
		for _, s := range m.EnumStrings {
			if s != strings.Repeat("x", 26) {
				t.Errorf("got label %q", s)
			}
		}
	}
}

func TestDecodeCtrlRefusesShortPayloads(t *testing.T) {
	for d := DBR(21); d <= DBRCtrlDouble; d++ {
		if _, err := DecodeCtrl(d, 1, make([]byte, d.Size(1)-1)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%v: got %v", d, err)
		}
	}
	if _, err := DecodeCtrl(DBRTimeDouble, 1, make([]byte, 100)); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v", err)
	}
}

func FuzzDecodeCtrl(f *testing.F) {
	for _, b := range wire(f) {
		if h, n, err := ParseHeader(b); err == nil && n > 0 {
			f.Add(h.DataType, h.Count, b[n:])
		}
	}
	f.Add(uint16(DBRCtrlDouble), uint32(1), make([]byte, 88))
	f.Add(uint16(DBRCtrlEnum), uint32(1), make([]byte, 424))
	f.Fuzz(func(t *testing.T, d uint16, count uint32, payload []byte) {
		m, err := DecodeCtrl(DBR(d), count, payload)
		if err == nil && (len(m.EnumStrings) > 16 || len(m.Limits) > 8 || len(m.Units) > 16) {
			t.Fatalf("got %+v", m)
		}
	})
}
