package schema_test

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"pvlog/schema"
	"pvlog/schema/epicspb"
	"pvlog/schema/logpb"
)

func TestParsePVName(t *testing.T) {
	good := map[string]schema.PVName{
		"LINAC:BPM1:X":           "LINAC:BPM1:X",
		"ca://A:B":               "A:B",
		"A:B.VAL":                "A:B",
		" A-B ":                  "A-B",
		"A:B.HIHI":               "A:B.HIHI",
		"A:B.DESC$":              "A:B.DESC$",
		"A:B.$":                  "A:B.$",
		`A:B.{"arr":{"s":1}}`:    `A:B.{"arr":{"s":1}}`,
		"A:B.[0:5]":              "A:B.[0:5]",
		"TST:CT{}Sig:1-I":        "TST:CT{}Sig:1-I",
		strings.Repeat("x", 230): schema.PVName(strings.Repeat("x", 230)),
	}
	for in, want := range good {
		if got, err := schema.ParsePVName(in); err != nil || got != want {
			t.Errorf("ParsePVName(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "  ", "pva://A", "A B", "A(B)", "..", "A:..:B", "/etc/passwd", "../x", "A::B", "A:", ":A",
		"A\x00B", "A.{\x00}", "A.{\xd2}", "A.{\n}", "A.B.C", "A.b c", "A*", "a\xff", strings.Repeat("x", 231), strings.Repeat("ab:", 300) + "x", "."} {
		if got, err := schema.ParsePVName(in); schema.CodeOf(err) != schema.Invalid {
			t.Errorf("ParsePVName(%q) = %q, %v, want an error of code invalid", in, got, err)
		}
	}
}

func TestChunkKeyIsTheAppliances(t *testing.T) {
	for pv, want := range map[schema.PVName]string{"A:B:C-D": "A/B/C/D:", "X:Y.HIHI": "X/Y.HIHI:", "plain": "plain:"} {
		if got := schema.ChunkKey(pv); got != want {
			t.Errorf("ChunkKey(%q) = %q, want %q", pv, got, want)
		}
	}
}

// encodings pairs what the Append functions write with the generated message
// that must marshal to the same bytes.
func encodings(at schema.Time) map[schema.DBRType]struct {
	bytes []byte
	value any
	msg   proto.Message
} {
	sec, nano := proto.Uint32(uint32(at.Sec-schema.YearStart(at.Year()))), proto.Uint32(at.Nsec)
	sev, sta := proto.Int32(2), proto.Int32(3)
	fields := []*epicspb.FieldValue{{Name: proto.String("EGU"), Val: proto.String("mA\n")}}
	end := func(b []byte) []byte { return schema.AppendField(schema.AppendAlarm(b, 2, 3), "EGU", "mA\n") }
	head := func() []byte { return schema.AppendHead(nil, at) }
	doubles := []float64{1.5, math.Inf(-1), math.Copysign(0, -1), 1e300}
	ints := []int32{-1, 0, 1, math.MaxInt32, math.MinInt32}
	floats := []float32{0.25, -7}
	return map[schema.DBRType]struct {
		bytes []byte
		value any
		msg   proto.Message
	}{
		schema.ScalarDouble:   {end(schema.AppendDouble(head(), -2.5)), -2.5, &epicspb.ScalarDouble{Secondsintoyear: sec, Nano: nano, Val: proto.Float64(-2.5), Severity: sev, Status: sta, Fieldvalues: fields}},
		schema.ScalarFloat:    {end(schema.AppendFloat(head(), 0.5)), float32(0.5), &epicspb.ScalarFloat{Secondsintoyear: sec, Nano: nano, Val: proto.Float32(0.5), Severity: sev, Status: sta, Fieldvalues: fields}},
		schema.ScalarInt:      {end(schema.AppendInt(head(), -9)), int32(-9), &epicspb.ScalarInt{Secondsintoyear: sec, Nano: nano, Val: proto.Int32(-9), Severity: sev, Status: sta, Fieldvalues: fields}},
		schema.ScalarShort:    {end(schema.AppendSint(head(), -300)), int32(-300), &epicspb.ScalarShort{Secondsintoyear: sec, Nano: nano, Val: proto.Int32(-300), Severity: sev, Status: sta, Fieldvalues: fields}},
		schema.ScalarEnum:     {end(schema.AppendSint(head(), 5)), int32(5), &epicspb.ScalarEnum{Secondsintoyear: sec, Nano: nano, Val: proto.Int32(5), Severity: sev, Status: sta, Fieldvalues: fields}},
		schema.ScalarByte:     {end(schema.AppendBytes(head(), []byte{200})), []byte{200}, &epicspb.ScalarByte{Secondsintoyear: sec, Nano: nano, Val: []byte{200}, Severity: sev, Status: sta, Fieldvalues: fields}},
		schema.ScalarString:   {end(schema.AppendString(head(), []byte("20\xb0C"))), "20°C", &epicspb.ScalarString{Secondsintoyear: sec, Nano: nano, Val: proto.String("20°C"), Severity: sev, Status: sta, Fieldvalues: fields}},
		schema.WaveformString: {end(schema.AppendString(schema.AppendString(head(), []byte("a")), nil)), []string{"a", ""}, &epicspb.VectorString{Secondsintoyear: sec, Nano: nano, Val: []string{"a", ""}, Severity: sev, Status: sta, Fieldvalues: fields}},
		schema.WaveformByte:   {end(schema.AppendBytes(head(), []byte{0, 255})), []byte{0, 255}, &epicspb.VectorChar{Secondsintoyear: sec, Nano: nano, Val: []byte{0, 255}, Severity: sev, Status: sta, Fieldvalues: fields}},
		schema.WaveformDouble: {end(schema.AppendDoubles(head(), 4, func(i int) float64 { return doubles[i] })), doubles, &epicspb.VectorDouble{Secondsintoyear: sec, Nano: nano, Val: doubles, Severity: sev, Status: sta, Fieldvalues: fields}},
		schema.WaveformFloat:  {end(schema.AppendFloats(head(), 2, func(i int) float32 { return floats[i] })), floats, &epicspb.VectorFloat{Secondsintoyear: sec, Nano: nano, Val: floats, Severity: sev, Status: sta, Fieldvalues: fields}},
		schema.WaveformInt:    {end(schema.AppendInts(head(), 5, func(i int) int32 { return ints[i] })), ints, &epicspb.VectorInt{Secondsintoyear: sec, Nano: nano, Val: ints, Severity: sev, Status: sta, Fieldvalues: fields}},
		schema.WaveformShort:  {end(schema.AppendSints(head(), 5, func(i int) int32 { return ints[i] })), ints, &epicspb.VectorShort{Secondsintoyear: sec, Nano: nano, Val: ints, Severity: sev, Status: sta, Fieldvalues: fields}},
		schema.WaveformEnum:   {end(schema.AppendSints(head(), 0, nil)), []int32(nil), &epicspb.VectorEnum{Secondsintoyear: sec, Nano: nano, Severity: sev, Status: sta, Fieldvalues: fields}},
	}
}

func TestAppendedEventsAreTheGeneratedMessages(t *testing.T) {
	at := schema.Time{Sec: 1_700_000_000, Nsec: 123_456_789}
	for typ, c := range encodings(at) {
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(c.msg)
		if err != nil {
			t.Fatalf("%v: %v", typ, err)
		}
		if !reflect.DeepEqual(c.bytes, want) {
			t.Errorf("%v: encoded %x, protobuf gives %x", typ, c.bytes, want)
		}
		s, err := schema.DecodeSample(typ, at.Year(), c.bytes)
		if err != nil {
			t.Fatalf("%v: %v", typ, err)
		}
		if s.Time != at || s.Severity != 2 || s.Status != 3 || !reflect.DeepEqual(s.Value, c.value) ||
			len(s.Fields) != 1 || s.Fields[0] != (schema.FieldValue{Name: "EGU", Val: "mA\n"}) {
			t.Errorf("%v: decoded %+v, want value %v", typ, s, c.value)
		}
		e, err := schema.ScanEvent(c.bytes)
		if err != nil || e.Time(at.Year()) != at || e.Severity != 2 || e.Status != 3 || !e.Same(e) {
			t.Errorf("%v: scanned %+v, %v", typ, e, err)
		}
	}
}

func TestSampleMessageRoundTripAndDamage(t *testing.T) {
	in := []schema.RawSample{
		{Type: schema.ScalarDouble, Registered: schema.ScalarDouble, Year: 2026, Received: time.Unix(1_700_000_000, 5), First: true,
			DriftPast: 30 * time.Minute, DriftFuture: time.Hour, Generation: 77, RateEvents: 1 << 31, RateBytes: 1 << 40, Event: []byte{1, 2, 3}},
		{Type: schema.ScalarString, Registered: schema.WaveformDouble, Year: 1990, Received: time.Unix(0, -1), Event: []byte{}},
	}
	b := schema.AppendSampleHeader(nil)
	for _, s := range in {
		before := len(b)
		b = schema.AppendRawSample(b, s)
		if len(b)-before != schema.SizeRawSample(s) {
			t.Errorf("sample takes %d bytes, SizeRawSample says %d", len(b)-before, schema.SizeRawSample(s))
		}
	}
	b = schema.AppendChecksum(b, 0)
	out, part, err := schema.DecodeSampleMessage(b, nil)
	if err != nil || part != nil || len(out) != 2 {
		t.Fatalf("decoded %v, %v, %v", out, part, err)
	}
	for i := range in {
		if !out[i].Received.Equal(in[i].Received) {
			t.Errorf("received %v, want %v", out[i].Received, in[i].Received)
		}
		out[i].Received = in[i].Received
		if !reflect.DeepEqual(out[i], in[i]) {
			t.Errorf("decoded %+v, want %+v", out[i], in[i])
		}
	}
	if err := proto.Unmarshal(b, &logpb.SampleMessage{}); err != nil {
		t.Errorf("the generated message cannot read it: %v", err)
	}
	for i := range b {
		bad := append([]byte(nil), b...)
		bad[i] ^= 0x10
		if _, _, err := schema.DecodeSampleMessage(bad, nil); !errors.Is(err, schema.ErrDamaged) {
			t.Fatalf("byte %d flipped: %v, want ErrDamaged", i, err)
		}
	}
}

func FuzzDecodeSampleMessage(f *testing.F) {
	b := schema.AppendRawSample(schema.AppendSampleHeader(nil), schema.RawSample{Year: 2026, Received: time.Unix(1, 0), Event: []byte{8, 1, 16, 1}})
	f.Add(b)
	f.Fuzz(func(_ *testing.T, b []byte) {
		samples, _, _ := schema.DecodeSampleMessage(schema.AppendChecksum(b, 0), nil)
		for _, s := range samples {
			if e, err := schema.ScanEvent(s.Event); err == nil {
				e.Time(s.Year)
			}
			_, _ = schema.DecodeSample(s.Type, s.Year, s.Event)
		}
	})
}

func TestRegistryEventsAdd(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	ev := func(e *logpb.RegistryEvent) *logpb.RegistryEvent {
		e.Version, e.Pv, e.Time = 1, "A:B", at.UnixNano()
		return e
	}
	info := schema.Apply(nil, 1, ev(&logpb.RegistryEvent{What: &logpb.RegistryEvent_Requested{Requested: &logpb.PVRequested{SamplingMethod: "MONITOR", SamplingPeriod: 0.5}}}))
	if info == nil || info.DBRType != schema.UnknownType || info.State != schema.Archiving || info.SamplingPeriod != 500*time.Millisecond || info.Generation != 1 {
		t.Fatalf("requested: %+v", info)
	}
	started := schema.Apply(info, 2, ev(&logpb.RegistryEvent{What: &logpb.RegistryEvent_Started{Started: &logpb.PVStarted{Type: 6, ElementCount: 1, Units: "mA"}}}))
	if started.DBRType != schema.ScalarDouble || started.Generation != 2 || info.DBRType != schema.UnknownType {
		t.Fatalf("started: %+v from %+v", started, info)
	}
	again := schema.Apply(started, 3, ev(&logpb.RegistryEvent{What: &logpb.RegistryEvent_Started{Started: &logpb.PVStarted{Type: 5}}}))
	if again.DBRType != schema.ScalarDouble || again.Generation != 2 {
		t.Errorf("a second start must not change the type: %+v", again)
	}
	paused := schema.Apply(started, 4, ev(&logpb.RegistryEvent{What: &logpb.RegistryEvent_Paused{Paused: &logpb.PVPaused{}}}))
	if paused.State != schema.Paused || paused.Sequence != 4 || paused.Generation != 2 {
		t.Errorf("paused: %+v", paused)
	}
	if got := schema.Apply(paused, 5, ev(&logpb.RegistryEvent{What: &logpb.RegistryEvent_Deleted{Deleted: &logpb.PVDeleted{}}})); got != nil {
		t.Errorf("deleted: %+v", got)
	}
	if got := schema.Apply(nil, 6, ev(&logpb.RegistryEvent{What: &logpb.RegistryEvent_Paused{Paused: &logpb.PVPaused{}}})); got != nil {
		t.Errorf("paused without registration: %+v", got)
	}
}
