package partition

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"pvlog/schema"
	"pvlog/schema/epicspb"
)

// Header is a file's first line. A file holds one PV, one type and one year.
type Header struct {
	Type         schema.DBRType
	PV           schema.PVName
	Year         int                 // UTC; lines count their seconds from its begin
	ElementCount int                 // 0 in files; raw responses state it
	Fields       []schema.FieldValue // none in files; EGU, PREC and others in raw responses
}

// Years that a header may state: what four digits of a file name can.
const minYear, maxYear = 1, 9999

// AppendHeader adds the header as a line: escaped, with its LF. Of optional
// parts only those that are set are written, so that a file's header is that of
// the Appliance: type, name, year.
func AppendHeader(b []byte, h Header) []byte {
	var m []byte
	m = protowire.AppendTag(m, 1, protowire.VarintType)
	m = protowire.AppendVarint(m, uint64(h.Type))
	m = protowire.AppendTag(m, 2, protowire.BytesType)
	m = protowire.AppendString(m, string(h.PV))
	m = protowire.AppendTag(m, 3, protowire.VarintType)
	m = protowire.AppendVarint(m, uint64(h.Year))
	if h.ElementCount != 0 {
		m = protowire.AppendTag(m, 4, protowire.VarintType)
		m = protowire.AppendVarint(m, uint64(h.ElementCount))
	}
	for _, f := range h.Fields {
		m = protowire.AppendTag(m, 15, protowire.BytesType)
		m = protowire.AppendBytes(m, fieldValue(f))
	}
	return AppendLine(b, m)
}

func fieldValue(f schema.FieldValue) []byte {
	m := protowire.AppendTag(nil, 1, protowire.BytesType)
	m = protowire.AppendString(m, f.Name)
	m = protowire.AppendTag(m, 2, protowire.BytesType)
	return protowire.AppendString(m, f.Val)
}

// ParseHeader reads a header line without its LF: of a file, or of a chunk of a
// raw response. The error is [ErrHeader].
func ParseHeader(line []byte) (Header, error) {
	message, err := AppendUnescaped(nil, line)
	if err != nil {
		return Header{}, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	var info epicspb.PayloadInfo
	if err := proto.Unmarshal(message, &info); err != nil {
		return Header{}, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	h := Header{
		Type:         schema.DBRType(info.GetType()),
		PV:           schema.PVName(info.GetPvname()),
		Year:         int(info.GetYear()),
		ElementCount: int(info.GetElementCount()),
	}
	for _, f := range info.GetHeaders() {
		h.Fields = append(h.Fields, schema.FieldValue{Name: f.GetName(), Val: f.GetVal()})
	}
	switch {
	case !h.Type.Valid():
		return Header{}, fmt.Errorf("%w: there is no type %d", ErrHeader, h.Type)
	case h.PV == "":
		return Header{}, fmt.Errorf("%w: it names no PV", ErrHeader)
	case h.Year < minYear || h.Year > maxYear:
		return Header{}, fmt.Errorf("%w: year %d", ErrHeader, h.Year)
	case h.ElementCount < 0:
		return Header{}, fmt.Errorf("%w: %d elements", ErrHeader, h.ElementCount)
	}
	return h, nil
}
