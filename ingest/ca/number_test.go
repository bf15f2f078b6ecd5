package ca

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"time"

	"pvlog/schema"
)

func TestNumberOfEveryType(t *testing.T) {
	for _, tt := range []struct {
		native DBR
		values any
		want   float64
		ok     bool
	}{
		{DBRString, []string{"1"}, 0, false},
		{DBRShort, []int16{-32768, 1}, -32768, true},
		{DBRFloat, []float32{-1.5}, -1.5, true},
		{DBREnum, []uint16{65535}, 65535, true},
		{DBRChar, []byte{200}, 200, true},
		{DBRLong, []int32{math.MinInt32}, math.MinInt32, true},
		{DBRDouble, []float64{math.Inf(-1)}, math.Inf(-1), true},
		{DBRDouble, []float64{}, 0, false},
	} {
		payload, count := encodeTime(t, tt.native.Time(), tt.values)
		if got, ok := Number(tt.native.Time(), count, payload); got != tt.want || ok != tt.ok {
			t.Errorf("%v %v: %v %v", tt.native, tt.values, got, ok)
		}
		if _, ok := Number(tt.native.Time(), count+1000, payload); ok {
			t.Errorf("%v: a number beyond the payload's end", tt.native)
		}
		text, ok := TextValue(tt.native.Time(), count, payload)
		if want := tt.native == DBRString; ok != want || (ok && text != "1") {
			t.Errorf("%v: text %q %v", tt.native, text, ok)
		}
	}
	if _, ok := Number(DBRCtrlDouble, 1, make([]byte, 100)); ok {
		t.Error("the place of a CTRL type's value is not looked for")
	}
	if text, ok := TextValue(DBRTimeString, 0, make([]byte, 100)); ok {
		t.Errorf("no element is the text %q", text)
	}
}

func TestDecodeTimeAtReplacesTheTimeAlone_S46(t *testing.T) {
	for _, tt := range decodeTests {
		payload, count := encodeTime(t, tt.native.Time(), tt.values)
		at := time.Date(2025, 12, 31, 23, 59, 59, 999_999_999, time.UTC)
		event, s, err := DecodeTimeAt(nil, tt.native.Time(), count, tt.waveform, payload, at)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		want, err := AppendTime(nil, tt.native.Time(), 2, 3, schema.TimeOf(at), tt.values)
		if err != nil {
			t.Fatal(err)
		}
		wantEvent, wantStamp, err := DecodeTime(nil, tt.native.Time(), count, tt.waveform, want)
		if err != nil || !bytes.Equal(event, wantEvent) || s != wantStamp {
			t.Errorf("%s: %+v, want %+v", tt.name, s, wantStamp)
		}
	}
	payload, _ := encodeTime(t, DBRTimeDouble, []float64{1})
	for name, call := range map[string]struct {
		d    DBR
		size int
		at   time.Time
	}{
		"before 1990": {DBRTimeDouble, len(payload), time.Unix(0, 0)},
		"after 2126":  {DBRTimeDouble, len(payload), time.Date(2127, 1, 1, 0, 0, 0, 0, time.UTC)},
		"short":       {DBRTimeDouble, len(payload) - 1, time.Now()},
		"no TIME":     {DBRDouble, len(payload), time.Now()},
	} {
		dst := []byte("before")
		event, _, err := DecodeTimeAt(dst, call.d, 1, false, payload[:call.size], call.at)
		if !errors.Is(err, ErrMalformed) || string(event) != "before" {
			t.Errorf("%s: %q, %v", name, event, err)
		}
	}
}
