package simioc

import (
	"fmt"
	"time"

	"pvlog/ingest/ca"
	"pvlog/schema"
)

const epoch = schema.EPICSEpoch

// process runs a record once, as its scan does. clock is in Unix nanoseconds.
func (r *record) process(clock int64, w *wakes) error {
	p := posting{clock: clock, keep: true}
	n := r.n
	r.n++
	var err error
	switch {
	case r.def.counts:
		p.value, p.keep = doubleValue(float64(n)), false
	case r.def.Generate != nil:
		var v value
		if v, err = encodeValue(r.def.Type, r.def.elements(), r.def.Generate(n, time.Unix(0, clock))); err == nil {
			p.value, p.keep = v, false
		} else {
			p.alarm, p.severity, p.status = true, severityInvalid, statusSoft
			err = fmt.Errorf("process %s: %w", r.name, err)
		}
	}
	r.post(&p, w)
	return err
}

// post changes the value, and with a string's value its long form.
func (r *record) post(p *posting, w *wakes) {
	r.main.post(p, w)
	if r.def.Type == ca.DBRString {
		r.refresh("VAL$", w)
	}
}

// refresh tells the subscribers of a field its new value, if anybody ever
// asked for the field and the value is new.
func (r *record) refresh(name string, w *wakes) {
	r.mu.Lock()
	v := r.fields[name]
	r.mu.Unlock()
	if v == nil {
		return
	}
	state := r.main.snapshot()
	next := r.fieldValue(v, state.meta)
	v.mu.Lock()
	defer v.mu.Unlock()
	if next.sameAs(&v.cur.value) {
		return
	}
	v.cur.value, v.cur.time, v.cur.severity, v.cur.status = next, state.time, state.severity, state.status
	v.cur.meta = v.field.metadata(*state.meta)
	v.offer(ca.MaskValue|ca.MaskLog, w)
}

// write puts n elements of DBR type d into a variable, as a client's WRITE
// does. The record is then processed: it takes the time of now and the alarm
// of its limits.
func (v *variable) write(d ca.DBR, n int, payload []byte, w *wakes) error {
	if d == ca.DBRPutAckT || d == ca.DBRPutAckS {
		return v.acknowledge(d, payload)
	}
	state := v.snapshot()
	f := format{precision: state.meta.Precision, labels: state.meta.EnumStrings}
	val, err := v.wireValue(d, n, payload, f)
	if err != nil {
		return err
	}
	if v.field == nil {
		v.record.post(&posting{value: val, clock: time.Now().UnixNano()}, w)
		return nil
	}
	return v.setField(val, w)
}

// wireValue converts what a client wrote to the native type. More elements
// than the record holds are cut off.
func (v *variable) wireValue(d ca.DBR, n int, payload []byte, f format) (value, error) {
	if d.Class() != ca.Plain {
		return value{}, fmt.Errorf("%w: %v cannot be written", errConvert, d)
	}
	n = min(n, v.max)
	if d == ca.DBRString && n == 1 && len(payload) < ca.MaxStringSize {
		payload = appendZeros(append([]byte(nil), payload...), ca.MaxStringSize-len(payload))
	}
	if n == 0 && v.max == 1 {
		return value{}, fmt.Errorf("%w: a scalar needs an element", errConvert)
	}
	size := d.ElementSize()
	if len(payload) < n*size {
		return value{}, fmt.Errorf("%w: %d bytes hold no %d elements of %v", errConvert, len(payload), n, d)
	}
	b := make([]byte, 0, n*v.native.ElementSize())
	var err error
	for i := range n {
		// Element by element even without conversion: what stands behind a
		// string's NUL is not kept.
		if b, err = appendElement(b, d, payload[i*size:][:size], v.native, f); err != nil {
			return value{}, err
		}
	}
	return wireValue(v.native, v.max, n, b), nil
}

// acknowledge clears the alarm that waits for it, or sets whether passing
// alarms wait at all.
func (v *variable) acknowledge(d ca.DBR, payload []byte) error {
	if len(payload) < 2 {
		return fmt.Errorf("%w: an acknowledgement has 2 bytes", errConvert)
	}
	x := int16(payload[0])<<8 | int16(payload[1])
	main := v.record.main
	main.mu.Lock()
	defer main.mu.Unlock()
	switch {
	case d == ca.DBRPutAckT:
		main.cur.ackt = x != 0
	case x >= main.cur.acks:
		main.cur.acks = 0
	}
	return nil
}

// setField changes what the record says of itself: subscribers of the field
// get the value, those of the record's properties the new properties. The
// record's stamp stays, as on a real IOC.
func (v *variable) setField(val value, w *wakes) error {
	f, main := v.field, v.record.main
	x := fieldContent(v.native, &val)
	if f.name == "VAL" {
		return v.record.setText(x.(string), w)
	}
	if f.check != nil {
		if err := f.check(x); err != nil {
			return err
		}
	}
	main.mu.Lock()
	meta := *main.cur.meta
	f.set(&meta, x)
	main.cur.meta = meta.onWire()
	if f.name != "DESC" {
		main.offer(ca.MaskProperty, w)
	}
	main.mu.Unlock()
	v.record.refresh(f.name, w)
	v.record.refresh(f.name+"$", w)
	return nil
}

// setText puts the long form of a string record's value, cut to what the record
// holds.
func (r *record) setText(text string, w *wakes) error {
	b, n, err := appendString(nil, ca.DBRString, text[:min(len(text), ca.MaxStringSize-1)])
	if err != nil {
		return err
	}
	r.post(&posting{value: wireValue(ca.DBRString, 1, n, b), clock: time.Now().UnixNano()}, w)
	return nil
}

// fieldContent is a field's value as its set function takes it.
func fieldContent(native ca.DBR, v *value) any {
	e := v.bytes(native.ElementSize())
	switch native {
	case ca.DBRString, ca.DBRChar:
		return cString(e)
	case ca.DBRShort:
		return int16(elementNumber(native, e).i)
	}
	return elementNumber(native, e).float64()
}
