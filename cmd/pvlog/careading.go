package main

import (
	"encoding/binary"
	"math"
	"strconv"

	"pvlog/ingest/ca"
	"pvlog/schema"
)

// caReading is a value as it came, and what helps to print it.
type caReading struct {
	name      string
	data      ca.DBR // of the payload
	count     uint32
	payload   []byte
	labels    []string // of an enum that came as a number
	monitored bool     // labels and precision make the string that the IOC would send
	precision int      // of a floating point value that is to be printed as a string; -1: it is not
}

// elements prints each element.
func (f caFormat) elements(r caReading) []string {
	values := make([]string, r.count)
	for i := range values {
		values[i] = f.element(r, r.payload[r.data.ValueOffset()+i*r.data.ElementSize():])
	}
	return values
}

func (f caFormat) element(r caReading, b []byte) string {
	switch r.data.Native() {
	case ca.DBRString:
		return escaped(rawText(b[:ca.MaxStringSize]))
	case ca.DBRShort:
		return f.integer(int32(int16(binary.BigEndian.Uint16(b))))
	case ca.DBRFloat:
		return f.float(r, float64(math.Float32frombits(binary.BigEndian.Uint32(b))))
	case ca.DBREnum:
		return f.enum(r, binary.BigEndian.Uint16(b))
	case ca.DBRChar:
		return strconv.Itoa(int(int8(b[0]))) // signed, as caget has it
	case ca.DBRLong:
		return f.integer(int32(binary.BigEndian.Uint32(b)))
	}
	return f.float(r, math.Float64frombits(binary.BigEndian.Uint64(b)))
}

// padded is a reading with the zeros that an IOC sends for elements that are
// asked for and not there.
func (r caReading) padded(count uint32) caReading {
	if count <= r.count {
		return r
	}
	have := r.data.ValueOffset() + int(r.count)*r.data.ElementSize()
	missing := int(count-r.count) * r.data.ElementSize()
	r.payload = append(r.payload[:have:have], make([]byte, missing)...)
	r.count = count
	return r
}

// first is a reading of no more than count elements.
func (r caReading) first(count uint32) caReading {
	r.count = min(r.count, count)
	return r
}

// text is an array of char up to its first NUL.
func (r caReading) text() string {
	return escaped(rawText(r.payload[r.data.ValueOffset():][:r.count]))
}

// alarm is what stands before the value of all types but the plain ones.
func (r caReading) alarm() (status, severity int) {
	if r.data.Class() == ca.Plain || r.data == ca.DBRClassName {
		return 0, 0
	}
	return int(int16(binary.BigEndian.Uint16(r.payload))), int(int16(binary.BigEndian.Uint16(r.payload[2:])))
}

// time is the stamp of a TIME type.
func (r caReading) time() schema.Time {
	return schema.Time{Sec: schema.EPICSEpoch + int64(binary.BigEndian.Uint32(r.payload[4:])), Nsec: binary.BigEndian.Uint32(r.payload[8:])}
}

// enumLabels reads the labels of an enum's GR or CTRL payload as the IOC sent
// them: [ca.DecodeCtrl] turns Latin-1 into UTF-8, and labels would differ from
// strings.
func enumLabels(payload []byte) []string {
	labels := make([]string, min(max(int(int16(binary.BigEndian.Uint16(payload[4:]))), 0), ca.MaxEnumStates))
	for i := range labels {
		labels[i] = rawText(payload[6+i*ca.EnumStringSize:][:ca.EnumStringSize])
	}
	return labels
}

// rawUnits are the units of a number's GR or CTRL payload as the IOC sent them.
func rawUnits(d ca.DBR, payload []byte) string {
	const size = 8
	at := 4
	if d.Native() == ca.DBRFloat || d.Native() == ca.DBRDouble {
		at = 8 // the precision is before them
	}
	return rawText(payload[at:][:size])
}
