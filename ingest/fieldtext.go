package ingest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

// maxFieldText bounds the value of one archive field in bytes: it stands in
// memory and rides on samples.
const maxFieldText = 4 << 10

// fieldText is an update of an archive field as text (S51): a string as it is,
// a number in plain form, an array as [a, b], an array of characters as the
// text up to its NUL. The value of a menu or an enum is its number, as in the
// Appliance, whose clients parse it; the labels of the PV itself are ENUM_0 and
// so on. An update without a value, or with one of more than maxFieldText
// bytes, is an error.
func fieldText(u caclient.Update, waveform bool) (string, error) {
	if u.Status != ca.StatusNormal {
		return "", fmt.Errorf("the IOC sent %s in place of a value", ca.StatusName(u.Status))
	}
	if len(u.Payload) > 16*maxFieldText { // longer than its text may be, whatever it is
		return "", fmt.Errorf("a value of %d bytes is no archive field: archive it as a PV", len(u.Payload))
	}
	event, stamp, err := ca.DecodeTime(nil, u.Type, u.Count, waveform, u.Payload)
	if errors.Is(err, ca.ErrNoValue) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("decode update: %w", err)
	}
	sample, err := schema.DecodeSample(stamp.Type, stamp.Year, event)
	if err != nil {
		return "", fmt.Errorf("decode update: %w", err)
	}
	text := valueText(sample.Value, waveform)
	if len(text) > maxFieldText {
		return "", fmt.Errorf("a value of %d characters is no archive field: archive it as a PV", len(text))
	}
	return text, nil
}

// valueText writes a sample's value.
func valueText(value any, waveform bool) string {
	switch v := value.(type) {
	case string:
		return v
	case int32:
		return strconv.Itoa(int(v))
	case float32:
		return schema.FormatField32(v)
	case float64:
		return schema.FormatField(v)
	case []byte:
		if waveform {
			return charText(v)
		}
		if len(v) > 0 {
			return strconv.Itoa(int(int8(v[0])))
		}
	case []string:
		return listText(v, func(s string) string { return s })
	case []int32:
		return listText(v, func(n int32) string { return strconv.Itoa(int(n)) })
	case []float32:
		return listText(v, schema.FormatField32)
	case []float64:
		return listText(v, schema.FormatField)
	}
	return ""
}

// listText is "[a, b]".
func listText[T any](values []T, text func(T) string) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, v := range values {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(text(v))
	}
	b.WriteByte(']')
	return b.String()
}

// charText is a CHAR array up to its NUL; what is not UTF-8 is Latin-1.
func charText(b []byte) string {
	text, _, _ := strings.Cut(string(b), "\x00")
	if utf8.ValidString(text) {
		return text
	}
	runes := make([]rune, len(text))
	for i := range len(text) {
		runes[i] = rune(text[i])
	}
	return string(runes)
}
