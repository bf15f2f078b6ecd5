package retrieval

import (
	"pvlog/consumers/partition"
	"pvlog/schema"
)

// raw writes the Appliance's PB over HTTP: chunks of a header line and sample
// lines as they stand in the files, separated by one empty line. A new chunk
// begins only where the year or the type changes, never without a sample.
//
// A scalar PV without any sample is answered by a lone header and an array by
// nothing: Phoebus takes an empty body for an unknown PV, and Grafana fails on
// the lone header of an array.
func (e *encoder) raw() error {
	var typ schema.DBRType
	year, begun := 0, false
	err := e.each(func(b []byte, s Sample) ([]byte, error) {
		if !begun || s.Year != year || s.Type != typ {
			if begun {
				b = append(b, '\n')
			}
			typ, year, begun = s.Type, s.Year, true
			b = e.appendHeader(b, typ, year)
		}
		if s.Line != nil {
			return append(append(b, s.Line...), '\n'), nil
		}
		return partition.AppendLine(b, s.Event), nil
	})
	if err != nil || begun || !e.meta.Type.Valid() || e.meta.Type > schema.ScalarDouble {
		return err
	}
	_, err = e.w.Write(e.appendHeader(nil, e.meta.Type, max(e.stream.query.From.UTC().Year(), 1970)))
	return err
}

func (e *encoder) appendHeader(b []byte, typ schema.DBRType, year int) []byte {
	return partition.AppendHeader(b, partition.Header{
		Type: typ, PV: e.meta.PV, Year: year,
		ElementCount: max(e.meta.ElementCount, 1), Fields: e.meta.Fields,
	})
}
