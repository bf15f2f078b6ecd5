package retrieval

import (
	"bytes"
	"strconv"

	"pvlog/schema"
)

// csv writes the Appliance's secs,val,severity,status,nanos without a heading
// and with an empty line at the end. A val with comma, quote or line break is
// quoted (RFC 4180); an array is a quoted JSON list with NaN and Infinity by
// name.
func (e *encoder) csv() error {
	if err := e.each(e.appendCSV); err != nil {
		return err
	}
	_, err := e.w.WriteString("\n")
	return err
}

func (e *encoder) appendCSV(b []byte, s Sample) ([]byte, error) {
	event, err := schema.ScanEvent(s.Event)
	if err != nil {
		return b, err
	}
	b = strconv.AppendInt(b, s.Time.Sec, 10)
	b = append(b, ',')
	mark := len(b)
	if b, err = appendValue(b, s.Type, event.Val, csvStyle); err != nil {
		return b, err
	}
	b = quoteCSV(b, mark)
	b = append(b, ',')
	b = strconv.AppendInt(b, int64(event.Severity), 10)
	b = append(b, ',')
	b = strconv.AppendInt(b, int64(event.Status), 10)
	b = append(b, ',')
	b = strconv.AppendUint(b, uint64(s.Time.Nsec), 10)
	return append(b, '\n'), nil
}

// quoteCSV quotes what stands in b from mark on, if it must be.
func quoteCSV(b []byte, mark int) []byte {
	if !bytes.ContainsAny(b[mark:], "\",\r\n") {
		return b
	}
	val := bytes.ReplaceAll(b[mark:], []byte(`"`), []byte(`""`))
	b = append(b[:mark], '"')
	b = append(b, val...)
	return append(b, '"')
}
