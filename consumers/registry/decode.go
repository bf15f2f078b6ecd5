package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"pvlog/schema"
)

// decoder reads records. The texts of many PVs are the same: each is kept once.
type decoder struct {
	texts map[string]string
}

// maxTexts bounds the different texts that a decoder remembers.
const maxTexts = 10_000

func newDecoder() *decoder { return &decoder{texts: map[string]string{}} }

func (d *decoder) text(b []byte) string {
	s, known := d.texts[string(b)]
	if !known {
		s = string(b)
		if len(d.texts) < maxTexts {
			d.texts[s] = s
		}
	}
	return s
}

// field is one field of a message: number or bytes, by its type.
type field struct {
	id     protowire.Number
	number uint64
	bytes  []byte
}

var errField = errors.New("unknown field")

// nextField cuts the first field off. Bytes are those of b.
func nextField(b []byte) (f field, rest []byte, err error) {
	id, kind, n := protowire.ConsumeTag(b)
	if n < 0 {
		return f, nil, protowire.ParseError(n)
	}
	b, f.id = b[n:], id
	switch kind {
	case protowire.VarintType:
		f.number, n = protowire.ConsumeVarint(b)
	case protowire.Fixed64Type:
		f.number, n = protowire.ConsumeFixed64(b)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(b)
	default:
		return f, nil, fmt.Errorf("%w %d of type %d", errField, id, kind)
	}
	if n < 0 {
		return f, nil, protowire.ParseError(n)
	}
	return f, b[n:], nil
}

// record reads what record.encode wrote.
func (d *decoder) record(pv schema.PVName, b []byte) (record, error) {
	if len(b) == 0 || b[0] != encodingVersion {
		return record{}, fmt.Errorf("decode record of %q: %w", pv, otherFormat(formatOf(b)))
	}
	var r record
	for b = b[1:]; len(b) > 0; {
		f, rest, err := nextField(b)
		if err == nil {
			err = d.take(&r, pv, f)
		}
		if err != nil {
			return record{}, fmt.Errorf("decode record of %q: %w", pv, err)
		}
		b = rest
	}
	return r, nil
}

// formatOf is the version of a record; versions 1 and 2 were JSON.
func formatOf(b []byte) int {
	switch {
	case len(b) == 0:
		return 0
	case b[0] == '{':
		return 2
	}
	return int(b[0])
}

func (d *decoder) take(r *record, pv schema.PVName, f field) (err error) {
	switch f.id {
	case recordSequence:
		r.Sequence = f.number
	case recordRequested:
		r.Requested = f.number
	case recordGeneration:
		var g Generation
		g, err = generation(f.bytes)
		r.Generations = append(r.Generations, g)
	case recordInfo:
		r.Info, err = d.info(pv, f.bytes)
	case recordChange:
		r.Change = new(Change)
		err = json.Unmarshal(f.bytes, r.Change)
	case recordFlag:
		value := f.number == 2
		r.Flag = &value
	default:
		err = fmt.Errorf("%w %d", errField, f.id)
	}
	return err
}

func generation(b []byte) (g Generation, err error) {
	for f := (field{}); len(b) > 0; {
		if f, b, err = nextField(b); err != nil {
			return g, err
		}
		switch f.id {
		case 1:
			g.Sequence = f.number
		case 2:
			g.Type = dbrType(f.number)
		default:
			return g, fmt.Errorf("%w %d of a generation", errField, f.id)
		}
	}
	return g, nil
}

func dbrType(zigzag uint64) schema.DBRType {
	return schema.DBRType(protowire.DecodeZigZag(zigzag))
}

func (d *decoder) info(pv schema.PVName, b []byte) (*schema.TypeInfo, error) {
	t := &schema.TypeInfo{PV: pv, Created: instant(0), Modified: instant(0)}
	for len(b) > 0 {
		f, rest, err := nextField(b)
		switch {
		case err != nil:
		case d.setting(&t.Settings, f):
		case d.fact(t, f):
		default:
			err = d.entry(t, f)
		}
		if err != nil {
			return nil, err
		}
		b = rest
	}
	return t, nil
}

// setting takes a field of the settings; false if it is none.
func (d *decoder) setting(s *schema.Settings, f field) bool {
	switch f.id {
	case infoMethod:
		s.SamplingMethod = schema.SamplingMethod(d.text(f.bytes))
	case infoPeriod:
		s.SamplingPeriod = time.Duration(f.number)
	case infoPolicy:
		s.Policy = d.text(f.bytes)
	case infoControllingPV:
		s.ControllingPV = schema.PVName(d.text(f.bytes))
	case infoStore:
		s.Stores = append(s.Stores, d.text(f.bytes))
	case infoArchiveField:
		s.ArchiveFields = append(s.ArchiveFields, d.text(f.bytes))
	case infoDeadband:
		s.Deadband = math.Float64frombits(f.number)
	case infoDriftPast:
		s.DriftPast = time.Duration(f.number)
	case infoDriftFuture:
		s.DriftFuture = time.Duration(f.number)
	case infoRateEvents:
		s.RateEvents = uint32(f.number)
	case infoRateBytes:
		s.RateBytes = f.number
	default:
		return false
	}
	return true
}

// fact takes any other field with one value; false if it is none.
func (d *decoder) fact(t *schema.TypeInfo, f field) bool {
	switch f.id {
	case infoState:
		t.State = schema.State(d.text(f.bytes))
	case infoAliasOf:
		t.AliasOf = schema.PVName(f.bytes)
	case infoType:
		t.DBRType = dbrType(f.number)
	case infoCount:
		t.ElementCount = int(f.number)
	case infoAskedSampling:
		t.AskedSampling = f.number != 0
	case infoAskedPolicy:
		t.AskedPolicy = d.text(f.bytes)
	case infoSkipAliasCheck:
		t.SkipAliasCheck = f.number != 0
	case infoChunkKey:
		t.ChunkKey = string(f.bytes)
	case infoHost:
		t.Host = d.text(f.bytes)
	case infoUnits:
		t.Units = d.text(f.bytes)
	case infoPrecision:
		t.Precision = int(protowire.DecodeZigZag(f.number))
	case infoCreated:
		t.Created = instant(f.number)
	case infoModified:
		t.Modified = instant(f.number)
	case infoExpires:
		t.Expires = instant(f.number)
	case infoGeneration:
		t.Generation = f.number
	case infoSequence:
		t.Sequence = f.number
	default:
		return false
	}
	return true
}

func instant(nanos uint64) time.Time { return time.Unix(0, int64(nanos)).UTC() }

// entry takes an entry of a map.
func (d *decoder) entry(t *schema.TypeInfo, f field) error {
	if f.id != infoLimit && f.id != infoField {
		return fmt.Errorf("%w %d of what is known", errField, f.id)
	}
	var name string
	var value field
	for b := f.bytes; len(b) > 0; {
		part, rest, err := nextField(b)
		switch {
		case err != nil:
			return err
		case part.id == 1:
			name = d.text(part.bytes)
		case part.id == 2:
			value = part
		default:
			return fmt.Errorf("%w %d of an entry", errField, part.id)
		}
		b = rest
	}
	if f.id == infoLimit {
		if t.Limits == nil {
			t.Limits = map[string]float64{}
		}
		t.Limits[name] = math.Float64frombits(value.number)
		return nil
	}
	if t.Fields == nil {
		t.Fields = map[string]string{}
	}
	t.Fields[name] = d.text(value.bytes)
	return nil
}
