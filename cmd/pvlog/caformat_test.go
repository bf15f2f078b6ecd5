package main

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

// plainFormat is what no flags give, in a zone that every machine has.
func plainFormat() caFormat {
	return caFormat{Separator: " ", E: -1, F: -1, G: -1, zone: time.UTC}
}

func changed(change func(*caFormat)) caFormat {
	f := plainFormat()
	change(&f)
	return f
}

var testStamp = schema.Time{Sec: 1_700_000_000, Nsec: 123_456_789} // 2023-11-14 22:13:20

func reading(t *testing.T, d ca.DBR, status, severity int16, values any) caReading {
	t.Helper()
	b, err := ca.AppendDBR(nil, d, ca.Properties{Status: status, Severity: severity, Time: testStamp, Metadata: ca.Metadata{
		Units: "V", Precision: 3, EnumStrings: []string{"Off", "f\xe9hler"},
		Limits: map[string]float64{"HOPR": 10, "LOPR": -10, "HIHI": 9, "HIGH": 8, "LOW": -8, "LOLO": -9, "DRVH": 200, "DRVL": math.NaN()},
	}}, values)
	if err != nil {
		t.Fatal(err)
	}
	n := (len(b) - d.ValueOffset()) / d.ElementSize()
	return caReading{name: "A:B", data: d, count: uint32(n), payload: b, precision: -1}
}

func TestValuesPrintAsCagetPrintsThem(t *testing.T) {
	for _, c := range []struct {
		format caFormat
		data   ca.DBR
		values any
		want   string
	}{
		{plainFormat(), ca.DBRTimeDouble, []float64{1.5}, "1.5"},
		{plainFormat(), ca.DBRTimeDouble, []float64{1e6, 123456, 0.0001, 0.00001, -0.1234567, 0}, "6 1e+06 123456 0.0001 1e-05 -0.123457 0"},
		{plainFormat(), ca.DBRTimeDouble, []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(math.NaN(), -1)}, "4 nan inf -inf -nan"},
		{plainFormat(), ca.DBRTimeDouble, []float64{}, ""},
		{plainFormat(), ca.DBRTimeFloat, []float32{0.1}, "0.1"},
		{plainFormat(), ca.DBRTimeShort, []int16{-7}, "-7"},
		{plainFormat(), ca.DBRTimeLong, []int32{math.MinInt32}, "-2147483648"},
		{plainFormat(), ca.DBRTimeChar, []byte{1, 200}, "2 1 -56"},
		{plainFormat(), ca.DBRTimeEnum, []uint16{1}, "1"},
		{plainFormat(), ca.DBRTimeString, []string{"20 \xb0C \"a\"\n"}, `20 \xb0C \"a\"\n`},
		{changed(func(f *caFormat) { f.Count = 2 }), ca.DBRTimeLong, []int32{1, 2}, "2 1 2"},
		{changed(func(f *caFormat) { f.Count = 2 }), ca.DBRTimeLong, []int32{}, "0 "},
		{changed(func(f *caFormat) { f.Count = 2 }), ca.DBRTimeLong, []int32{1}, "1 1"},
		{changed(func(f *caFormat) { f.Separator = "," }), ca.DBRTimeLong, []int32{1, 2}, "2,1,2"},
		{changed(func(f *caFormat) { f.CharText = true }), ca.DBRTimeChar, []byte("text\x00rest"), "text"},
		{changed(func(f *caFormat) { f.CharText = true }), ca.DBRTimeChar, []byte{}, ""},
		{changed(func(f *caFormat) { f.CharText, f.Count = true, 1 }), ca.DBRTimeChar, []byte("t"), "t"},
		{changed(func(f *caFormat) { f.CharText = true }), ca.DBRTimeChar, []byte{65}, "65"},
		{changed(func(f *caFormat) { f.F = 2 }), ca.DBRTimeDouble, []float64{1.005}, "1.00"},
		{changed(func(f *caFormat) { f.E = 1 }), ca.DBRTimeDouble, []float64{123.4}, "1.2e+02"},
		{changed(func(f *caFormat) { f.G = 12 }), ca.DBRTimeDouble, []float64{1.23456789012}, "1.23456789012"},
		{changed(func(f *caFormat) { f.G = 0 }), ca.DBRTimeDouble, []float64{123}, "1e+02"},
	} {
		if got := c.format.value(reading(t, c.data, 0, 0, c.values)); got != c.want {
			t.Errorf("%v %v: %q, want %q", c.data, c.values, got, c.want)
		}
	}
}

func TestEnumsPrintTheirLabelOrWhyThereIsNone(t *testing.T) {
	r := reading(t, ca.DBRCtrlEnum, 0, 0, []uint16{0, 1, 2, 16})
	r.labels = enumLabels(r.payload)
	if got, want := plainFormat().value(r), "4 Off f\xe9hler Enum Index Overflow (2) Illegal Value (16)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := changed(func(f *caFormat) { f.EnumNumber = true }).value(r); got != "4 0 1 2 16" {
		t.Errorf("%q", got)
	}
}

func TestMonitorsPrintWhatTheIOCWouldSend(t *testing.T) {
	r := reading(t, ca.DBRTimeEnum, 0, 0, []uint16{0, 1, 2, 16, 65535})
	r.monitored, r.labels = true, []string{"Off", "f\xe9hler"}
	if got, want := plainFormat().value(r), `5 Off f\xe9hler  Illegal Value Illegal Value`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	r.labels = nil
	if got, want := plainFormat().value(r.first(3).padded(4)), "4 0 1 2 0"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := changed(func(f *caFormat) { f.EnumNumber, f.IntegerBase = true, "x" }).value(r), "5 0x0 0x1 0x2 0x10 0xFFFFFFFF"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestNumbersPrintInTheBaseThatIsAskedFor(t *testing.T) {
	values := []float64{0, 0.5, -0.5, 1.49, -7, 2147483647, 3e9, math.NaN()}
	for base, want := range map[string]string{
		"x": "8 0x0 0x1 0xFFFFFFFF 0x1 0xFFFFFFF9 0x7FFFFFFF 0x80000000 0x80000000",
		"o": "8 0o0 0o1 0o37777777777 0o1 0o37777777771 0o17777777777 0o20000000000 0o20000000000",
	} {
		if got := changed(func(f *caFormat) { f.FloatBase = base }).value(reading(t, ca.DBRTimeDouble, 0, 0, values)); got != want {
			t.Errorf("-l%s: %q, want %q", base, got, want)
		}
	}
	binary := changed(func(f *caFormat) { f.IntegerBase = "b" })
	if got, want := binary.value(reading(t, ca.DBRTimeShort, 0, 0, []int16{0, 5, -1})), "3 0 101 11111111111111111111111111111111"; got != want {
		t.Errorf("-0b: %q, want %q", got, want)
	}
	for _, wrong := range []func(*caFormat){
		func(f *caFormat) { f.FloatBase = "q" }, func(f *caFormat) { f.IntegerBase = "xx" },
		func(f *caFormat) { f.E, f.G = 1, 2 }, func(f *caFormat) { f.F = 19 }, func(f *caFormat) { f.F = -2 },
	} {
		if err := changed(wrong).check(); err == nil {
			t.Errorf("%+v: no error", changed(wrong))
		}
	}
}

func TestStringsHaveThePrecisionOfTheIOC(t *testing.T) {
	for _, c := range []struct {
		value  float64
		digits int
		want   string
	}{
		{1.25, 1, "1.3"}, {-1.25, 1, "-1.3"}, {2, 0, "2"}, {1.5, 3, "1.500"}, {123456789.5, 5, "123456789.500"}, {1.5, 9, " 1.500000000e+00"},
		{math.NaN(), 2, "nan"}, {math.Copysign(math.NaN(), -1), 9, "            -nan"}, {math.Inf(-1), 2, "     -inf"}, {1.5e20, 5, " 1.50000e+20"},
	} {
		r := caReading{precision: c.digits}
		if got := plainFormat().float(r, c.value); got != c.want {
			t.Errorf("%v with %d digits: %q, want %q", c.value, c.digits, got, c.want)
		}
	}
}

func TestWideLinesHaveStampAndAlarm(t *testing.T) {
	comma := changed(func(f *caFormat) { f.Separator = "," })
	for _, c := range []struct {
		format caFormat
		r      caReading
		want   string
	}{
		{plainFormat(), reading(t, ca.DBRTimeLong, 0, 0, []int32{5}), "A:B                            2023-11-14 22:13:20.123457 5  "},
		{plainFormat(), reading(t, ca.DBRTimeLong, 3, 2, []int32{5}), "A:B                            2023-11-14 22:13:20.123457 5 HIHI MAJOR"},
		{plainFormat(), reading(t, ca.DBRTimeLong, 99, -1, []int32{5}), "A:B                            2023-11-14 22:13:20.123457 5 ?? ??"},
		{comma, reading(t, ca.DBRTimeLong, 0, 0, []int32{5}), "A:B,2023-11-14 22:13:20.123457,5,,"},
		{comma, reading(t, ca.DBRTimeLong, 17, 3, []int32{}), "A:B,2023-11-14 22:13:20.123457,UDF,INVALID"},
		{comma, reading(t, ca.DBRTimeLong, 0, 0, []int32{7, 8}), "A:B,2023-11-14 22:13:20.123457,2,7,8,,"},
	} {
		if got := c.format.wide(c.r, c.format.stamp(c.r.time())); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestStampsAreRoundedWithinTheirSecond(t *testing.T) {
	for nsec, want := range map[uint32]string{
		0: "2023-11-14 22:13:20.000000", 1499: "2023-11-14 22:13:20.000001", 1500: "2023-11-14 22:13:20.000002",
		999_999_999: "2023-11-14 22:13:20.999999", 1_500_000_000: "2023-11-14 22:13:20.OVF",
	} {
		if got := plainFormat().stamp(schema.Time{Sec: 1_700_000_000, Nsec: nsec}); got != want {
			t.Errorf("%d ns: %s, want %s", nsec, got, want)
		}
	}
	if got := plainFormat().stamp(schema.Time{Sec: schema.EPICSEpoch}); got != "<undefined>" {
		t.Errorf("a record that never processed: %s", got)
	}
}

func TestDetailsTellAllThatTheTypeHolds(t *testing.T) {
	for _, c := range []struct {
		data   ca.DBR
		values any
		want   []string
	}{
		{ca.DBRCtrlDouble, []float64{1.5}, []string{
			"A:B\n    Native data type: DBF_DOUBLE\n    Request type:     DBR_CTRL_DOUBLE\n    Element count:    1\n    Value:            1.5\n    Status:           LOW\n    Severity:         MINOR\n    Units:            V\n    Precision:        3\n",
			"    Lo disp limit:    -10\n    Hi disp limit:    10\n    Lo alarm limit:   -9\n    Lo warn limit:    -8\n    Hi warn limit:    8\n    Hi alarm limit:   9\n    Lo ctrl limit:    nan\n    Hi ctrl limit:    200\n"}},
		{ca.DBRCtrlShort, []int16{5}, []string{"    Lo disp limit:         -10\n"}},
		{ca.DBRCtrlChar, []byte{5}, []string{"    Hi ctrl limit:         -56\n"}},
		{ca.DBRCtrlEnum, []uint16{1}, []string{"Value:            f\xe9hler\n", "    Enums:            ( 2)\n                      [ 0] Off\n                      [ 1] f\xe9hler\n"}},
		{ca.DBRTimeString, []string{"x"}, []string{"Value:            x\n    Timestamp:        2023-11-14 22:13:20.123457\n    Status:           LOW\n"}},
		{ca.DBRLong, []int32{7, 8}, []string{"Element count:    2\n    Value:            7 8\n"}},
		{ca.DBRClassName, []string{"ai"}, []string{"Class Name:       ai\n"}},
		{ca.DBRStsAckString, []string{"ai"}, []string{"Ack transient?:   NO\n    Ack severity:     NO_ALARM\n"}},
	} {
		r := reading(t, c.data, 6, 1, c.values)
		got := plainFormat().details(caAnswer{
			name: "A:B", info: caclient.Info{Native: c.data.Native(), Count: 1},
			update: caclient.Update{Type: c.data, Count: r.count, Payload: r.payload},
		})
		contains(t, got, c.want...)
	}
}

func TestWhyThereIsNoValueIsSaid(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&caclient.StatusError{Status: ca.StatusNoReadAccess}, "*** no read access"},
		{&caclient.StatusError{Status: ca.StatusGetFail, Text: "why"}, "*** CA error Channel read request failed: why"},
		{fmt.Errorf("get: %w", ca.ErrGetTimeout), "*** no data available (timeout)"},
		{errNotFound, "*** Not connected (PV not found)"},
		{ca.ErrNotConnected, "*** disconnected"},
		{errors.New("odd"), "*** odd"},
	} {
		if got := caTrouble(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}

func TestTypesAreNamedOrNumbered(t *testing.T) {
	for text, want := range map[string]ca.DBR{
		"DBR_CTRL_DOUBLE": 34, "ctrl_double": 34, "34": 34, "INT": 1, "TIME_INT": 15, "dbr_short": 1, "0": 0, "STSACK_STRING": 37, "CLASS_NAME": 38,
	} {
		if got, err := parseDBR(text); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"35", "36", "39", "-1", "", "DOUBLES", "DBR_", "00"} {
		if got, err := parseDBR(text); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
}

func TestMasksAreLetters(t *testing.T) {
	for letters, want := range map[string]uint16{"v": 1, "va": 5, "l": 2, "valp": 15} {
		if got, err := parseMask(letters); err != nil || got != want {
			t.Errorf("%s: %d, %v", letters, got, err)
		}
	}
	for _, letters := range []string{"", "x", "v x"} {
		if _, err := parseMask(letters); err == nil {
			t.Errorf("%q: no error", letters)
		}
	}
}

func TestMonitorStampsAreAbsoluteFirst(t *testing.T) {
	at := func(sec int64) schema.Time { return schema.Time{Sec: 1_700_000_000 + sec} }
	for key, want := range map[string]string{
		"s":  "2023-11-14 22:13:20.000000|2023-11-14 22:13:21.000000|2023-11-14 22:13:23.000000|2023-11-14 22:13:26.000000",
		"n":  "|||",
		"r":  "2023-11-14 22:13:20.000000|2023-11-14 22:13:21.000000|                 +3.000000|                 +6.000000",
		"i":  "2023-11-14 22:13:20.000000|2023-11-14 22:13:21.000000|                 +2.000000|                 +3.000000",
		"sI": "2023-11-14 22:13:20.000000|2023-11-14 22:13:21.000000|                 +3.000000|                 +5.000000",
		"cr": "(2023-11-14 22:13:30.000000)|(2023-11-14 22:13:31.000000)|              (  +13.000000)|              (  +16.000000)",
	} {
		s, err := parseStamps(key, time.Unix(1_700_000_000, 0))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, u := range []struct {
			pv  string
			sec int64
		}{{"a", 0}, {"b", 1}, {"a", 3}, {"b", 6}} {
			got = append(got, s.text(plainFormat(), u.pv, at(u.sec), at(u.sec+10)))
		}
		if strings.Join(got, "|") != want {
			t.Errorf("-t %s:\n%s, want\n%s", key, strings.Join(got, "|"), want)
		}
	}
	if _, err := parseStamps("x", time.Now()); err == nil {
		t.Error("-t x: no error")
	}
}
