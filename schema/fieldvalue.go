package schema

import (
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// FormatField is a number as field values show it: plain, with as many digits
// as make it exact.
func FormatField(v float64) string { return formatField(v, 64) }

// FormatField32 is FormatField for a number of single precision.
func FormatField32(v float32) string { return formatField(float64(v), 32) }

func formatField(v float64, bits int) string {
	format := byte('f')
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'g'
	}
	return strconv.FormatFloat(v, format, -1, bits)
}

// KnownFields are the fields of a PV's record as far as the registry knows
// them: EGU, PREC, limits, DESC, the labels of an enum, and of the other fields
// those that are archived. A limit that is NaN is one that the record does not
// use. None has an empty value.
func (t *TypeInfo) KnownFields() []FieldValue {
	var fields []FieldValue
	add := func(name, val string) {
		if val != "" {
			fields = append(fields, FieldValue{Name: name, Val: val})
		}
	}
	add("EGU", t.Units)
	if t.Limits != nil {
		add("PREC", strconv.Itoa(t.Precision))
	}
	for _, name := range limitFields {
		if v, ok := t.Limits[name]; ok && !math.IsNaN(v) {
			add(name, FormatField(v))
		}
	}
	add("DESC", t.Fields["DESC"])
	for _, name := range t.ArchiveFields {
		if name != "DESC" {
			add(name, t.Fields[name])
		}
	}
	for i := 0; ; i++ {
		name := "ENUM_" + strconv.Itoa(i)
		label, ok := t.Fields[name]
		if !ok {
			return fields
		}
		add(name, label)
	}
}

// limitFields are the keys of TypeInfo.Limits.
var limitFields = []string{"HOPR", "LOPR", "HIHI", "HIGH", "LOW", "LOLO", "DRVH", "DRVL"}

// HasField reports whether a field value of a name stands in records of field
// 7, as [Event].Fields holds them.
func HasField(records []byte, name string) bool {
	for len(records) > 0 {
		_, _, n := protowire.ConsumeTag(records)
		if n < 0 {
			return false
		}
		content, m := protowire.ConsumeBytes(records[n:])
		if m < 0 {
			return false
		}
		if nameOf(content) == name {
			return true
		}
		records = records[n+m:]
	}
	return false
}

// nameOf is the name in a FieldValue message, "" if there is none.
func nameOf(content []byte) string {
	for len(content) > 0 {
		num, wire, n := protowire.ConsumeTag(content)
		if n < 0 {
			return ""
		}
		if num == 1 && wire == protowire.BytesType {
			name, m := protowire.ConsumeBytes(content[n:])
			if m < 0 {
				return ""
			}
			return string(name)
		}
		m := protowire.ConsumeFieldValue(num, wire, content[n:])
		if m < 0 {
			return ""
		}
		content = content[n+m:]
	}
	return ""
}
