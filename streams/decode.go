package streams

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// jsonSample is a sample for people. Value is a number, a string, an array of
// them, or "NaN", "Infinity", "-Infinity", which JSON has no numbers for.
type jsonSample struct {
	Time       string            `json:"time"`
	Value      any               `json:"value"`
	Severity   int32             `json:"severity"`
	Status     int32             `json:"status"`
	Type       string            `json:"type"`
	Fields     map[string]string `json:"fields,omitempty"`
	Received   string            `json:"received"`
	First      bool              `json:"first,omitempty"`
	Registered string            `json:"registered_type,omitempty"` // when it is another than Type
	Generation uint64            `json:"generation,omitempty"`
	Error      string            `json:"error,omitempty"`
}

type jsonMessage struct {
	PV      string       `json:"pv"`
	Samples []jsonSample `json:"samples,omitempty"`
	Part    *jsonPart    `json:"part,omitempty"`
}

type jsonPart struct {
	Number uint32 `json:"number"`
	Count  uint32 `json:"count"`
	Total  uint64 `json:"total_bytes"`
	Bytes  int    `json:"bytes"`
}

type jsonDrop struct {
	PV       string      `json:"pv"`
	Reason   string      `json:"reason"`
	Detail   string      `json:"detail,omitempty"`
	Sequence uint64      `json:"log_sequence"`
	Index    int         `json:"log_index"`
	Time     string      `json:"log_time"`
	Sample   *jsonSample `json:"sample,omitempty"`
	Raw      []byte      `json:"raw,omitempty"` // base64
}

// DecodeJSON turns a payload of any of our streams into one line of JSON, for
// `nats --translate`. A damaged payload is [schema.ErrDamaged].
func DecodeJSON(subject string, payload []byte) ([]byte, error) {
	prefix, pv, err := ParseSubject(subject)
	if err != nil {
		return nil, err
	}
	switch {
	case prefix == SamplesPrefix:
		return decodeSamples(pv, payload)
	case prefix == RegistryPrefix:
		return decodeEvent(payload)
	case strings.HasPrefix(prefix, DropsPrefix+"."):
		return decodeDropJSON(subject, payload)
	}
	return nil, schema.Errorf(schema.Invalid, "subject %q: decode knows samples.>, registry.> and drops.>", subject)
}

func decodeSamples(pv schema.PVName, payload []byte) ([]byte, error) {
	samples, part, err := schema.DecodeSampleMessage(payload, nil)
	if err != nil {
		return nil, err
	}
	m := jsonMessage{PV: string(pv)}
	for _, s := range samples {
		m.Samples = append(m.Samples, sampleJSON(s))
	}
	if part != nil {
		m.Part = &jsonPart{Number: part.GetNumber(), Count: part.GetCount(), Total: part.GetTotal(), Bytes: len(part.GetData())}
	}
	return json.Marshal(m)
}

func decodeEvent(payload []byte) ([]byte, error) {
	e := &logpb.RegistryEvent{}
	if err := proto.Unmarshal(payload, e); err != nil {
		return nil, fmt.Errorf("%w: %w", schema.ErrDamaged, err)
	}
	return protojson.MarshalOptions{UseProtoNames: true}.Marshal(e)
}

func decodeDropJSON(subject string, payload []byte) ([]byte, error) {
	d, err := decodeDrop(subject, payload)
	if err != nil {
		return nil, err
	}
	out := jsonDrop{
		PV: string(d.PV), Reason: d.Reason, Detail: d.Detail, Sequence: d.Position.Seq, Index: d.Position.Index,
		Time: timeText(d.Position.Time), Raw: d.Raw,
	}
	if d.Sample != nil {
		s := sampleJSON(*d.Sample)
		out.Sample = &s
	}
	return json.Marshal(out)
}

func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// sampleJSON decodes the value; what cannot be decoded stays with its error.
func sampleJSON(r schema.RawSample) jsonSample {
	out := jsonSample{Type: r.Type.Payload(), Received: timeText(r.Received), First: r.First, Generation: r.Generation}
	if r.Registered != r.Type {
		out.Registered = r.Registered.Payload()
	}
	s, err := schema.DecodeSample(r.Type, r.Year, r.Event)
	if err != nil {
		out.Error = err.Error()
		return out
	}
	out.Time, out.Value, out.Severity, out.Status = s.Time.String(), jsonValue(s.Value), s.Severity, s.Status
	for _, f := range s.Fields {
		if out.Fields == nil {
			out.Fields = map[string]string{}
		}
		out.Fields[f.Name] = f.Val
	}
	return out
}

// jsonValue makes a value fit for JSON: bytes become numbers, floating-point
// numbers are written as short as they can be and NaN as text.
func jsonValue(v any) any {
	switch v := v.(type) {
	case []byte:
		numbers := make([]int, len(v))
		for i, b := range v {
			numbers[i] = int(b)
		}
		return numbers
	case float32:
		return jsonFloat(float64(v), 32)
	case float64:
		return jsonFloat(v, 64)
	case []float32:
		out := make([]any, len(v))
		for i, f := range v {
			out[i] = jsonFloat(float64(f), 32)
		}
		return out
	case []float64:
		out := make([]any, len(v))
		for i, f := range v {
			out[i] = jsonFloat(f, 64)
		}
		return out
	case []string, []int32:
		return v
	}
	return v
}

func jsonFloat(f float64, bits int) any {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return json.RawMessage(strconv.AppendFloat(nil, f, 'g', -1, bits))
}
