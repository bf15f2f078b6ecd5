package streams

import (
	"encoding/json"
	"errors"
	"math"
	"testing"

	"google.golang.org/protobuf/proto"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

func TestDecodeJSON(t *testing.T) {
	at := schema.Time{Sec: schema.YearStart(2026) + 1, Nsec: 5}
	head := func() []byte { return schema.AppendHead(nil, at) }
	raw := func(typ schema.DBRType, event []byte) schema.RawSample {
		return schema.RawSample{Type: typ, Registered: typ, Year: 2026, Received: at.Go(), Generation: 9, Event: event}
	}
	scalar := raw(schema.ScalarDouble, schema.AppendField(schema.AppendAlarm(schema.AppendDouble(head(), 0.1), 2, 3), "EGU", "mm"))
	retyped := scalar
	retyped.Registered, retyped.First = schema.ScalarInt, true
	drop := Drop{Reason: "order", Detail: "late", PV: "A:B", Position: Position{Seq: 4, Index: 2, Time: at.Go()}, Sample: &scalar}
	dropped, err := drop.encode()
	if err != nil {
		t.Fatal(err)
	}
	event, err := proto.Marshal(event("A:B", "me"))
	if err != nil {
		t.Fatal(err)
	}
	const common = `"received":"2026-01-01T00:00:01.000000005Z"`
	for name, c := range map[string]struct {
		subject string
		payload []byte
		want    string
	}{
		"scalar": {"samples.A.B", encoded("A:B", scalar).data,
			`{"pv":"A:B","samples":[{"time":"2026-01-01T00:00:01.000000005Z","value":0.1,"severity":2,"status":3,"type":"SCALAR_DOUBLE","fields":{"EGU":"mm"},` + common + `,"generation":9}]}`},
		"two, retyped": {"samples.A", encoded("A", raw(schema.ScalarString, schema.AppendString(head(), []byte("x\"y"))), retyped).data,
			`{"pv":"A","samples":[{"time":"2026-01-01T00:00:01.000000005Z","value":"x\"y","severity":0,"status":0,"type":"SCALAR_STRING",` + common + `,"generation":9},` +
				`{"time":"2026-01-01T00:00:01.000000005Z","value":0.1,"severity":2,"status":3,"type":"SCALAR_DOUBLE","fields":{"EGU":"mm"},` + common + `,"first":true,"registered_type":"SCALAR_INT","generation":9}]}`},
		"drop": {"drops.order.A.B", dropped,
			`{"pv":"A:B","reason":"order","detail":"late","log_sequence":4,"log_index":2,"log_time":"2026-01-01T00:00:01.000000005Z","sample":{"time":"2026-01-01T00:00:01.000000005Z","value":0.1,"severity":2,"status":3,"type":"SCALAR_DOUBLE","fields":{"EGU":"mm"},` + common + `,"generation":9}}`},
		"event": {"registry.A.B", event, `{"version":1,"pv":"A:B","actor":"me","paused":{}}`},
	} {
		got, err := DecodeJSON(c.subject, c.payload)
		if err != nil || !sameJSON(t, got, []byte(c.want)) {
			t.Errorf("%s: %s, %v\nwant %s", name, got, err, c.want)
		}
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatalf("%v: %s", err, a)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	ax, _ := json.Marshal(x)
	by, _ := json.Marshal(y)
	return string(ax) == string(by)
}

func TestDecodeJSONOfEveryValue(t *testing.T) {
	for want, v := range map[string]any{
		`"NaN"`:             math.NaN(),
		`"Infinity"`:        math.Inf(1),
		`"-Infinity"`:       float32(math.Inf(-1)),
		`0.1`:               float32(0.1),
		`1e+300`:            1e300,
		`[1,255,0]`:         []byte{1, 255, 0},
		`[]`:                []byte{},
		`[0.5,"NaN"]`:       []float32{0.5, float32(math.NaN())},
		`["-Infinity",1.5]`: []float64{math.Inf(-1), 1.5},
		`["a","b"]`:         []string{"a", "b"},
		`[-1,2]`:            []int32{-1, 2},
		`7`:                 int32(7),
	} {
		got, err := json.Marshal(jsonValue(v))
		if err != nil || string(got) != want {
			t.Errorf("%v: %s, want %s, %v", v, got, want, err)
		}
	}
}

func TestDecodeJSONRefuses(t *testing.T) {
	good := encoded("A", sampleOf(1)).data
	for name, c := range map[string]struct {
		subject string
		payload []byte
		damaged bool
	}{
		"another subject": {"other.A", good, false},
		"no PV":           {"samples", good, false},
		"empty":           {"samples.A", nil, true},
		"cut":             {"samples.A", good[:len(good)-1], true},
		"event":           {"registry.A", []byte{0xff}, true},
		"drop":            {"drops.order.A", good[1:], true},
	} {
		out, err := DecodeJSON(c.subject, c.payload)
		if err == nil || errors.Is(err, schema.ErrDamaged) != c.damaged {
			t.Errorf("%s: %s, %v", name, out, err)
		}
	}
}

// FuzzDecode feeds all decoders of the log with bytes from outside.
func FuzzDecode(f *testing.F) {
	f.Add("samples.A", encoded("A", sampleOf(1), largeSample(20, 1)).data)
	f.Add("drops.order.A", schema.AppendChecksum(nil, 0))
	f.Add("registry.A", []byte{8, 1, 18, 1, 'A'})
	f.Fuzz(func(t *testing.T, subject string, payload []byte) {
		sealed := schema.AppendChecksum(payload[:len(payload):len(payload)], 0)
		for _, b := range [][]byte{payload, sealed} {
			if out, err := DecodeJSON(subject, b); err == nil && !json.Valid(out) {
				t.Fatalf("no JSON: %s", out)
			}
			_, _ = decodeDrop(subject, b)
		}
	})
}

// FuzzParts feeds the joiner with parts that say anything.
func FuzzParts(f *testing.F) {
	f.Add(uint64(1), uint32(0), uint32(2), uint64(10), []byte("12345"), uint32(1), []byte("67890"))
	f.Fuzz(func(t *testing.T, id uint64, number, count uint32, total uint64, data []byte, number2 uint32, data2 []byte) {
		var set partSet
		done, err := set.add("A", 1, &logpb.Part{Id: id, Number: number, Count: count, Total: total, Data: data})
		if err != nil || done {
			return
		}
		done, err = set.add("A", 2, &logpb.Part{Id: id, Number: number2, Count: count, Total: total, Data: data2})
		if err == nil && done && (uint64(len(set.data)) != total || count != 2) {
			t.Fatalf("a set of %d parts and %d bytes was joined to %d bytes", count, total, len(set.data))
		}
	})
}

func FuzzParseReply(f *testing.F) {
	f.Add("$JS.ACK.SAMPLES.archive.1.42.7.1700000000000000005.3")
	f.Fuzz(func(t *testing.T, reply string) {
		if s, err := parseReply(reply); err == nil && reply[:len(s.prefix)] != s.prefix {
			t.Fatalf("%q: prefix %q", reply, s.prefix)
		}
	})
}
