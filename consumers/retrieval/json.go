package retrieval

import (
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"pvlog/schema"
)

// json writes the Appliance's JSON byte for byte, white space included, except
// where that is not JSON: NaN and infinite numbers become null.
func (e *encoder) json() error {
	e.buf = append(e.buf[:0], "[ \n{ \"meta\": { \"name\": "...)
	e.buf = appendJSONString(e.buf, string(e.meta.PV))
	for _, f := range e.meta.Fields {
		e.buf = append(e.buf, " , "...)
		e.buf = append(appendJSONString(e.buf, f.Name), ": "...)
		e.buf = appendJSONString(e.buf, f.Val)
	}
	e.buf = append(e.buf, " },\n\"data\": [ \n"...)
	if _, err := e.w.Write(e.buf); err != nil {
		return err
	}
	if err := e.each(e.appendJSON); err != nil {
		return err
	}
	_, err := e.w.WriteString("\n] }\n ]\n")
	return err
}

func (e *encoder) appendJSON(b []byte, s Sample) ([]byte, error) {
	event, err := schema.ScanEvent(s.Event)
	if err != nil {
		return b, err
	}
	if e.samples > 0 {
		b = append(b, ",\n"...)
	}
	b = append(b, `{ "secs": `...)
	b = strconv.AppendInt(b, s.Time.Sec, 10)
	b = append(b, `, "val": `...)
	if b, err = appendValue(b, s.Type, event.Val, jsonStyle); err != nil {
		return b, err
	}
	b = append(b, `, "nanos": `...)
	b = strconv.AppendUint(b, uint64(s.Time.Nsec), 10)
	b = append(b, `, "severity":`...)
	b = strconv.AppendInt(b, int64(event.Severity), 10)
	b = append(b, `, "status":`...)
	b = strconv.AppendInt(b, int64(event.Status), 10)
	if len(event.Fields) > 0 {
		b = appendFields(b, event.Fields)
	}
	return append(b, " }"...), nil
}

// appendFields adds the sample's field values; of a repeated name the last
// value holds.
func appendFields(b, records []byte) []byte {
	fields := scanFields(records)
	b = append(b, `, "fields": { `...)
	n := 0
	for i, f := range fields {
		if repeated(fields[i+1:], f.Name) {
			continue
		}
		if n++; n > 1 {
			b = append(b, ", "...)
		}
		b = append(appendJSONString(b, f.Name), ": "...)
		b = appendJSONString(b, f.Val)
	}
	return append(b, " }"...)
}

func repeated(fields []schema.FieldValue, name string) bool {
	for _, f := range fields {
		if f.Name == name {
			return true
		}
	}
	return false
}

// scanFields reads the records of field 7; what is not a FieldValue message is
// passed over.
func scanFields(records []byte) []schema.FieldValue {
	var fields []schema.FieldValue
	for len(records) > 0 {
		_, wire, n := protowire.ConsumeTag(records)
		if n < 0 || wire != protowire.BytesType {
			break
		}
		msg, m := protowire.ConsumeBytes(records[n:])
		if m < 0 {
			break
		}
		records = records[n+m:]
		if f, ok := scanField(msg); ok {
			fields = append(fields, f)
		}
	}
	return fields
}

func scanField(msg []byte) (f schema.FieldValue, ok bool) {
	for len(msg) > 0 {
		num, wire, n := protowire.ConsumeTag(msg)
		if n < 0 || wire != protowire.BytesType {
			return f, false
		}
		val, m := protowire.ConsumeBytes(msg[n:])
		if m < 0 {
			return f, false
		}
		msg = msg[n+m:]
		switch num {
		case 1:
			f.Name, ok = string(val), true
		case 2:
			f.Val = string(val)
		}
	}
	return f, ok
}

// AppendJSONValue adds the value of an event as getData.json writes it.
func AppendJSONValue(b []byte, t schema.DBRType, event schema.Event) ([]byte, error) {
	return appendValue(b, t, event.Val, jsonStyle)
}
