package retrieval

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"pvlog/schema"
)

// errNoField says that a sample does not carry the field that is asked for.
var errNoField = errors.New("the sample does not carry the field")

// texts are fields whose value is a text whatever the PV's type.
var texts = map[string]bool{"DESC": true, "EGU": true, "NAME": true, "RTYP": true, "SCAN": true, "OUT": true, "INP": true,
	"ONAM": true, "ZNAM": true, "DTYP": true, "FTVL": true, "ASG": true}

// FieldType is the type of the samples that a field of a PV makes: that of the
// PV's elements, except for texts.
func FieldType(field string, t schema.DBRType) schema.DBRType {
	switch {
	case texts[field], !t.Valid(), t == schema.V4GenericBytes:
		return schema.ScalarString
	case t.Waveform():
		t += schema.ScalarString - schema.WaveformString
	}
	if t == schema.ScalarEnum || t == schema.ScalarByte { // a severity, a limit: never a state or a character
		return schema.ScalarInt
	}
	return t
}

// fieldSample makes the sample of a field out of a sample that carries its
// value: same time, severity and status. The error is errNoField if it does
// not, another if the value is not of the field's type.
func fieldSample(s Sample, field string) (Sample, error) {
	event, err := schema.ScanEvent(s.Event)
	if err != nil {
		return s, err
	}
	val, ok := "", false
	for _, f := range scanFields(event.Fields) {
		if f.Name == field { // of a repeated name the last value holds
			val, ok = f.Val, true
		}
	}
	if !ok {
		return s, errNoField
	}
	out := Sample{Type: FieldType(field, s.Type), Year: s.Year, Time: s.Time}
	b := schema.AppendHead(nil, s.Time)
	if b, err = appendText(b, out.Type, val); err != nil {
		return s, err
	}
	out.Event = schema.AppendAlarm(b, event.Severity, event.Status)
	return out, nil
}

// appendText adds the value that a text states to an event.
func appendText(b []byte, t schema.DBRType, val string) ([]byte, error) {
	if t == schema.ScalarString {
		return schema.AppendString(b, []byte(val)), nil
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(val), 64)
	if err != nil {
		return b, err
	}
	switch t {
	case schema.ScalarDouble:
		return schema.AppendDouble(b, v), nil
	case schema.ScalarFloat:
		return schema.AppendFloat(b, float32(v)), nil
	}
	if v != math.Trunc(v) || v < math.MinInt32 || v > math.MaxInt32 {
		return b, strconv.ErrRange
	}
	if t == schema.ScalarInt {
		return schema.AppendInt(b, int32(v)), nil
	}
	return schema.AppendSint(b, int32(v)), nil
}
