package retrieval_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"pvlog/consumers/retrieval"
	"pvlog/schema"
	"pvlog/schema/epicspb"
)

// decodeRaw reads a PB over HTTP answer as clients do: lines, empty line
// between chunks, header first in each.
func decodeRaw(t *testing.T, body []byte) (headers []*epicspb.PayloadInfo, samples []schema.Sample) {
	t.Helper()
	if len(body) > 0 && body[len(body)-1] != '\n' {
		t.Fatalf("the answer's last line does not end: clients drop it")
	}
	var header *epicspb.PayloadInfo
	for i, line := range bytes.Split(bytes.TrimSuffix(body, []byte("\n")), []byte("\n")) {
		if len(body) == 0 {
			break
		}
		plain := unescape(t, line)
		switch {
		case len(line) == 0 && header == nil:
			t.Fatalf("line %d: two empty lines in a row end the answer for Phoebus", i)
		case len(line) == 0:
			header = nil
		case header == nil:
			header = &epicspb.PayloadInfo{}
			if err := proto.Unmarshal(plain, header); err != nil {
				t.Fatalf("line %d: header: %v", i, err)
			}
			headers = append(headers, header)
		default:
			s, err := schema.DecodeSample(schema.DBRType(header.GetType()), int(header.GetYear()), plain)
			if err != nil {
				t.Fatalf("line %d: %v", i, err)
			}
			samples = append(samples, s)
		}
	}
	return headers, samples
}

func unescape(t *testing.T, line []byte) []byte {
	t.Helper()
	var out []byte
	for i := 0; i < len(line); i++ {
		if line[i] != 0x1b {
			out = append(out, line[i])
			continue
		}
		i++
		if i == len(line) || line[i] < 1 || line[i] > 3 {
			t.Fatalf("bad escape in % x", line)
		}
		out = append(out, []byte{0x1b, 0x0a, 0x0d}[line[i]-1])
	}
	return out
}

func TestDecoderOfTheseTestsReadsTheAppliance(t *testing.T) {
	want := map[string][2]int{"SCALAR_DOUBLE_sampledata": {1, 0}, "multipleChunksInSameYear": {0, 0}, "WAVEFORM_DOUBLE_sampledata": {1, 1}}
	for file, n := range want {
		body, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		headers, samples := decodeRaw(t, body)
		if len(headers) < n[0] || len(samples) < n[1] || len(samples) == 0 {
			t.Errorf("%s: %d headers, %d samples", file, len(headers), len(samples))
		}
	}
}

// answer writes the samples that tail holds in a format.
func answer(t *testing.T, ext string, typ schema.DBRType, lines []retrieval.TailLine, meta retrieval.Meta) string {
	t.Helper()
	r := retrieval.New(retrieval.Options{Tail: func(schema.PVName) (schema.DBRType, []retrieval.TailLine) { return typ, lines }})
	var out bytes.Buffer
	s, err := r.Open(retrieval.Query{PV: meta.PV, From: time.Unix(0, 0), To: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := retrieval.Formats[ext].Write(&out, s, meta); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// event encodes a value of any type.
func event(at schema.Time, typ schema.DBRType, v any, severity, status int32, fields ...schema.FieldValue) []byte {
	b := schema.AppendHead(nil, at)
	switch v := v.(type) {
	case float64:
		b = schema.AppendDouble(b, v)
	case float32:
		b = schema.AppendFloat(b, v)
	case int32:
		if typ == schema.ScalarInt {
			b = schema.AppendInt(b, v)
		} else {
			b = schema.AppendSint(b, v)
		}
	case []byte:
		b = schema.AppendBytes(b, v)
	case string:
		b = schema.AppendString(b, []byte(v))
	case []string:
		for _, s := range v {
			b = schema.AppendString(b, []byte(s))
		}
	case []float64:
		b = schema.AppendDoubles(b, len(v), func(i int) float64 { return v[i] })
	case []float32:
		b = schema.AppendFloats(b, len(v), func(i int) float32 { return v[i] })
	case []int32:
		if typ == schema.WaveformInt {
			b = schema.AppendInts(b, len(v), func(i int) int32 { return v[i] })
		} else {
			b = schema.AppendSints(b, len(v), func(i int) int32 { return v[i] })
		}
	default:
		panic(fmt.Sprintf("%T", v))
	}
	b = schema.AppendAlarm(b, severity, status)
	for _, f := range fields {
		b = schema.AppendField(b, f.Name, f.Val)
	}
	return b
}

type jsonSample struct {
	Secs, Nanos      int64
	Val              any
	Severity, Status int32
	Fields           map[string]string
}

type jsonAnswer []struct {
	Meta map[string]string
	Data []jsonSample
}

func parseJSON(t *testing.T, body string) jsonAnswer {
	t.Helper()
	var a jsonAnswer
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, body)
	}
	if len(a) != 1 {
		t.Fatalf("%d objects, want one per PV", len(a))
	}
	return a
}

func TestJSONIsTheAppliancesByteForByte(t *testing.T) {
	types := map[string]schema.DBRType{"double": schema.ScalarDouble, "enum": schema.ScalarEnum, "string": schema.ScalarString}
	for name, typ := range types {
		recorded, err := os.ReadFile("testdata/appliance-" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		a := parseJSON(t, string(recorded))
		meta := retrieval.Meta{PV: schema.PVName(a[0].Meta["name"])}
		for _, field := range []string{"EGU", "PREC"} {
			if v, ok := a[0].Meta[field]; ok {
				meta.Fields = append(meta.Fields, schema.FieldValue{Name: field, Val: v})
			}
		}
		var lines []retrieval.TailLine
		for _, s := range a[0].Data {
			at := schema.Time{Sec: s.Secs, Nsec: uint32(s.Nanos)}
			v := s.Val
			if typ == schema.ScalarEnum {
				v = int32(v.(float64))
			}
			lines = append(lines, retrieval.TailLine{Year: at.Year(), Event: event(at, typ, v, s.Severity, s.Status)})
		}
		if got := answer(t, "json", typ, lines, meta); got != string(recorded) {
			t.Errorf("%s:\n%.400q\nwant\n%.400q", name, got, recorded)
		}
	}
}

// valueCases pairs a value with its JSON and CSV.
var valueCases = []struct {
	typ       schema.DBRType
	value     any
	json, csv string
}{
	{schema.ScalarDouble, 2168.0, "2168.0", "2168.0"},
	{schema.ScalarDouble, math.NaN(), "null", "NaN"},
	{schema.ScalarDouble, math.Inf(1), "null", "Infinity"},
	{schema.ScalarDouble, math.Inf(-1), "null", "-Infinity"},
	{schema.ScalarDouble, 1e10, "1.0E10", "1.0E10"},
	{schema.ScalarDouble, -1.5e-7, "-1.5E-7", "-1.5E-7"},
	{schema.ScalarDouble, math.Copysign(0, -1), "-0.0", "-0.0"},
	{schema.ScalarDouble, math.MaxFloat64, "1.7976931348623157E308", "1.7976931348623157E308"},
	{schema.ScalarFloat, float32(0.1), "0.1", "0.1"},
	{schema.ScalarInt, int32(math.MinInt32), "-2147483648", "-2147483648"},
	{schema.ScalarShort, int32(-300), "-300", "-300"},
	{schema.ScalarEnum, int32(65535), "65535", "65535"},
	{schema.ScalarByte, []byte{200}, "-56", "-56"},
	{schema.ScalarString, "a, \"b\"\n\\µ\x01", `"a, \"b\"\n\\µ\u0001"`, "\"a, \"\"b\"\"\n\\µ\x01\""},
	{schema.ScalarString, "plain", `"plain"`, "plain"},
	{schema.WaveformDouble, []float64{1, math.NaN(), -2.5}, "[1.0,null,-2.5]", `"[1.0,NaN,-2.5]"`},
	{schema.WaveformDouble, []float64{}, "[]", "[]"},
	{schema.WaveformFloat, []float32{0.25}, "[0.25]", "[0.25]"},
	{schema.WaveformInt, []int32{-1, 2}, "[-1,2]", `"[-1,2]"`},
	{schema.WaveformShort, []int32{-1, 300, 0}, "[-1,300,0]", `"[-1,300,0]"`},
	{schema.WaveformEnum, []int32{1, 2}, "[1,2]", `"[1,2]"`},
	{schema.WaveformByte, []byte{0, 127, 255}, "[0,127,-1]", `"[0,127,-1]"`},
	{schema.WaveformString, []string{"a", "", "c,d"}, `["a","","c,d"]`, `"[""a"","""",""c,d""]"`},
	{schema.V4GenericBytes, []byte{1, 2, 3}, `"AQID"`, `"""AQID"""`},
}

func TestValuesOfAllTypes(t *testing.T) {
	at := schema.Time{Sec: 1_700_000_000, Nsec: 5}
	for _, c := range valueCases {
		lines := []retrieval.TailLine{{Year: at.Year(), Event: event(at, c.typ, c.value, 2, 3, schema.FieldValue{Name: "a", Val: "1"}, schema.FieldValue{Name: "a", Val: "\"2"})}}
		body := answer(t, "json", c.typ, lines, retrieval.Meta{PV: "P"})
		want := fmt.Sprintf("\n{ \"secs\": 1700000000, \"val\": %s, \"nanos\": 5, \"severity\":2, \"status\":3, \"fields\": { \"a\": \"\\\"2\" } }\n", c.json)
		if !strings.Contains(body, want) {
			t.Errorf("%v %v: %s, want %s", c.typ, c.value, body, want)
		}
		parseJSON(t, body)
		if got, want := answer(t, "csv", c.typ, lines, retrieval.Meta{PV: "P"}), "1700000000,"+c.csv+",2,3,5\n\n"; got != want {
			t.Errorf("%v %v: csv %q, want %q", c.typ, c.value, got, want)
		} else if rows, err := csv.NewReader(strings.NewReader(got)).ReadAll(); err != nil || len(rows) != 1 || len(rows[0]) != 5 {
			t.Errorf("%v: csv %q does not parse: %v %v", c.typ, got, rows, err)
		}
	}
}

func TestArraysMayStandUnpacked(t *testing.T) {
	at := schema.Time{Sec: 1_700_000_000}
	b := schema.AppendDouble(schema.AppendDouble(schema.AppendHead(nil, at), 1), 2)
	body := answer(t, "json", schema.WaveformDouble, []retrieval.TailLine{{Year: 2023, Event: b}}, retrieval.Meta{PV: "P"})
	if !strings.Contains(body, `"val": [1.0,2.0]`) {
		t.Error(body)
	}
}

// An event whose value is not of its type is passed over, and what stands
// around it stays well formed.
func TestValueOfAnotherTypeIsSkipped(t *testing.T) {
	at := func(i int64) schema.Time { return schema.Time{Sec: 1_700_000_000 + i} }
	for typ := schema.ScalarString; typ <= schema.V4GenericBytes; typ++ {
		for _, c := range valueCases {
			lines := []retrieval.TailLine{
				{Year: 2023, Event: event(at(0), c.typ, c.value, 0, 0)},
				{Year: 2023, Event: schema.AppendHead(nil, at(1))},
			}
			parseJSON(t, answer(t, "json", typ, lines, retrieval.Meta{PV: "P"}))
		}
	}
}

func TestRawRoundTripsAllTypes(t *testing.T) {
	fields := []schema.FieldValue{{Name: "EGU", Val: "m\nA"}, {Name: "PREC", Val: "3"}}
	for _, c := range valueCases {
		var lines []retrieval.TailLine
		var want []schema.Sample
		for i := range int64(5) {
			at := schema.Time{Sec: time.Date(2022, 12, 31, 23, 59, 58, 0, time.UTC).Unix() + i, Nsec: 10}
			e := event(at, c.typ, c.value, 1, 10)
			lines = append(lines, retrieval.TailLine{Year: at.Year(), Event: e})
			s, err := schema.DecodeSample(c.typ, at.Year(), e)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, s)
		}
		body := answer(t, "raw", c.typ, lines, retrieval.Meta{PV: "A:B", ElementCount: 7, Fields: fields})
		headers, got := decodeRaw(t, []byte(body))
		if len(headers) != 2 || headers[0].GetYear() != 2022 || headers[1].GetYear() != 2023 {
			t.Fatalf("%v: a year is a chunk: %v", c.typ, headers)
		}
		for _, h := range headers {
			if h.GetPvname() != "A:B" || schema.DBRType(h.GetType()) != c.typ || h.GetElementCount() != 7 || len(h.GetHeaders()) != 2 || h.GetHeaders()[0].GetVal() != "m\nA" {
				t.Errorf("header %v", h)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v: %v, want %v", c.typ, got, want)
		}
	}
}

func TestAnswerWithoutSamples(t *testing.T) {
	for typ := schema.UnknownType; typ <= schema.V4GenericBytes; typ++ {
		meta := retrieval.Meta{PV: "P", Type: typ}
		headers, samples := decodeRaw(t, []byte(answer(t, "raw", typ, nil, meta)))
		lone := typ >= schema.ScalarString && typ <= schema.ScalarDouble
		if len(samples) != 0 || (len(headers) == 1) != lone {
			t.Errorf("%v: %d headers, %d samples", typ, len(headers), len(samples))
		}
		if a := parseJSON(t, answer(t, "json", typ, nil, meta)); len(a[0].Data) != 0 || a[0].Meta["name"] != "P" {
			t.Errorf("%v: %v", typ, a)
		}
		if got := answer(t, "csv", typ, nil, meta); strings.TrimSpace(got) != "" {
			t.Errorf("%v: %q", typ, got)
		}
	}
}

func TestJavaFloatReadsBackTheSame(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		v := math.Float64frombits(rng.Uint64())
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		var got float64
		if err := json.Unmarshal(retrieval.AppendJavaFloat(nil, v, 64), &got); err != nil || got != v {
			t.Fatalf("%v is written %s: %v %v", v, retrieval.AppendJavaFloat(nil, v, 64), got, err)
		}
	}
	for v, want := range map[float64]string{1e7: "1.0E7", 9999999: "9999999.0", 0.001: "0.001", 0.00099: "9.9E-4", 123.456: "123.456", 100: "100.0"} {
		if got := string(retrieval.AppendJavaFloat(nil, v, 64)); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

// failAfter takes some bytes, then fails.
type failAfter struct{ left int }

func (f *failAfter) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, errors.New("connection reset")
	}
	return len(b), nil
}

func TestWriterThatFailsIsTold(t *testing.T) {
	var lines []retrieval.TailLine
	for i := range int64(10_000) {
		at := schema.Time{Sec: 1_700_000_000 + i}
		lines = append(lines, retrieval.TailLine{Year: 2023, Event: event(at, schema.ScalarDouble, 1.5, 0, 0)})
	}
	r := retrieval.New(retrieval.Options{Tail: func(schema.PVName) (schema.DBRType, []retrieval.TailLine) { return schema.ScalarDouble, lines }})
	for ext, format := range retrieval.Formats {
		s, err := r.Open(retrieval.Query{PV: "P", From: time.Unix(0, 0), To: time.Unix(1_800_000_000, 0)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = format.Write(&failAfter{left: 100_000}, s, retrieval.Meta{PV: "P"})
		if _, ok := errors.AsType[*retrieval.WriteError](err); !ok {
			t.Errorf("%s: %v", ext, err)
		}
		s.Close()
	}
}

// FuzzValue feeds events to the encoders that decode values by themselves and
// compares them with the generated messages.
func FuzzValue(f *testing.F) {
	at := schema.Time{Sec: 1_700_000_000}
	for _, c := range valueCases {
		f.Add(int32(c.typ), event(at, c.typ, c.value, 1, 2))
	}
	f.Fuzz(func(t *testing.T, typ int32, b []byte) {
		dbr := schema.DBRType(typ)
		if !dbr.Valid() {
			return
		}
		lines := []retrieval.TailLine{{Year: 2023, Event: b}}
		a := parseJSON(t, answer(t, "json", dbr, lines, retrieval.Meta{PV: "P"}))
		s, err := schema.DecodeSample(dbr, 2023, b)
		if err != nil || len(a[0].Data) == 0 {
			return
		}
		if got := a[0].Data[0]; got.Secs != s.Time.Sec || got.Severity != s.Severity {
			t.Errorf("%+v, want %+v", got, s)
		}
		if v, ok := s.Value.([]float64); ok {
			compareFloats(t, a[0].Data[0].Val.([]any), v)
		}
		if v, ok := s.Value.(int32); ok && a[0].Data[0].Val != float64(v) {
			t.Errorf("%v, want %v", a[0].Data[0].Val, v)
		}
	})
}

func compareFloats(t *testing.T, got []any, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d elements, want %d", len(got), len(want))
	}
	for i, v := range want {
		finite := !math.IsNaN(v) && !math.IsInf(v, 0)
		if finite && !reflect.DeepEqual(got[i], v) || !finite && got[i] != nil {
			t.Fatalf("element %d is %v, want %v", i, got[i], v)
		}
	}
}
