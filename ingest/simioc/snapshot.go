package simioc

import (
	"encoding/binary"
	"fmt"

	"pvlog/ingest/ca"
	"pvlog/schema"
)

// snapshot is the state of a variable at one instant: all that an update or
// the answer to a get is made of.
type snapshot struct {
	value    value
	time     schema.Time
	severity int16
	status   int16
	acks     int16 // highest severity that nobody acknowledged
	ackt     bool  // an alarm that has passed still asks for acknowledgement
	native   ca.DBR
	max      int
	meta     *metadata
}

// metadata is what GR and CTRL types and the record's fields say. It never
// changes: a put to a field makes a new one.
type metadata struct {
	ca.Metadata             // for the wire
	integers    ca.Metadata // the same for integer types
	class       string      // record type
	desc        string
	limits      Limits
	states      []int16 // severities of labels
	mdel, adel  float64
}

// maxPayload bounds an answer: a client that asks for more elements than fit
// gets TOLARGE.
const maxPayload = maxValueBytes + maxHeadBytes

// maxHeadBytes is more than what any DBR type has before the elements.
const maxHeadBytes = 1 << 10

// noElements are empty values by native type: ca encodes what stands before
// the elements, and those we hold in wire form.
var noElements = [7]any{[]string{}, []int16{}, []float32{}, []uint16{}, []byte{}, []int32{}, []float64{}}

// elementsFor is how many elements a request for count gets: the current
// length for 0, else exactly count. The record type comes once for each element
// that the record could hold, as from base.
func (s *snapshot) elementsFor(d ca.DBR, count uint32) uint32 {
	switch {
	case count != 0:
		return count
	case d == ca.DBRClassName:
		return uint32(s.max)
	}
	return uint32(s.value.n)
}

// appendMessage appends a message that carries the snapshot as n elements of
// type d; h gives its command and ids. On an error b is as it was.
func (s *snapshot) appendMessage(b []byte, h ca.Header, d ca.DBR, n uint32) ([]byte, error) {
	size := d.Size(n)
	if size > maxPayload {
		return b, fmt.Errorf("%d elements of %v take %d bytes, %d are allowed", n, d, size, maxPayload)
	}
	start := len(b)
	h.DataType, h.Count, h.PayloadSize = uint16(d), n, uint32(size+7)&^7
	b = ca.AppendHeader(b, h)
	end := len(b) + int(h.PayloadSize)
	b, err := s.appendPayload(b, d, n)
	if err != nil {
		return b[:start], err
	}
	return appendZeros(b, end-len(b)), nil
}

func (s *snapshot) appendPayload(b []byte, d ca.DBR, n uint32) ([]byte, error) {
	if d == ca.DBRClassName {
		class := s.meta.class[:min(len(s.meta.class), ca.MaxStringSize-1, int(n)*ca.MaxStringSize)]
		return appendZeros(append(b, class...), int(n)*ca.MaxStringSize-len(class)), nil
	}
	start := len(b)
	p := ca.Properties{Status: s.status, Severity: s.severity, Time: s.time}
	if class := d.Class(); class == ca.GR || class == ca.CTRL {
		p.Metadata = s.meta.integers
		if native := d.Native(); native == ca.DBRDouble || native == ca.DBRFloat {
			p.Metadata = s.meta.Metadata
		}
	}
	b, err := ca.AppendDBR(b, d, p, noElements[d.Native()])
	if err != nil {
		return b, err
	}
	if d == ca.DBRStsAckString {
		if s.ackt {
			b[start+5] = 1
		}
		binary.BigEndian.PutUint16(b[start+6:], uint16(s.acks))
	}
	f := format{precision: s.meta.Precision, labels: s.meta.EnumStrings}
	return appendConverted(b, s.native, s.value.bytes(s.native.ElementSize()), d.Native(), int(n), f)
}

// appendZeroed is the same message when there is no value to tell: the right
// size for n elements, all zero.
func appendZeroed(b []byte, h ca.Header, d ca.DBR, n uint32) []byte {
	h.DataType, h.Count, h.PayloadSize = uint16(d), n, uint32(min(d.Size(n), maxPayload)+7)&^7
	return appendZeros(ca.AppendHeader(b, h), int(h.PayloadSize))
}
