package retrieval_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"pvlog/consumers/partition"
	"pvlog/consumers/retrieval"
	"pvlog/schema"
)

// fieldOf reads the values of a field of samples that stand in the tail.
func fieldOf(t *testing.T, typ schema.DBRType, field string, lines ...retrieval.TailLine) (got []schema.Sample, skipped retrieval.Skipped) {
	t.Helper()
	r := retrieval.New(retrieval.Options{Tail: func(schema.PVName) (schema.DBRType, []retrieval.TailLine) { return typ, lines }})
	s, err := r.Open(retrieval.Query{PV: pv, From: at(0).Go(), To: at(math.MaxInt32).Go(), Field: field})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for {
		sample, err := s.Next()
		if errors.Is(err, io.EOF) {
			return got, s.Skipped()
		}
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := schema.DecodeSample(sample.Type, sample.Year, sample.Event)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, decoded)
	}
}

func line(t schema.Time, typ schema.DBRType, v any, fields ...schema.FieldValue) retrieval.TailLine {
	return retrieval.TailLine{Year: t.Year(), Event: event(t, typ, v, 2, 3, fields...)}
}

func TestFieldIsReadFromTheSamplesThatCarryIt(t *testing.T) {
	high := func(v string) schema.FieldValue { return schema.FieldValue{Name: "HIGH", Val: v} }
	got, skipped := fieldOf(t, schema.ScalarDouble, "HIGH",
		line(at(1), schema.ScalarDouble, 1.0, high("20.0")),
		line(at(2), schema.ScalarDouble, 2.0),
		line(at(3), schema.ScalarDouble, 3.0, schema.FieldValue{Name: "LOW", Val: "7.0"}),
		line(at(4), schema.ScalarDouble, 4.0, high("20.0"), high("30.5")),
		line(at(5), schema.ScalarDouble, 5.0, high("none")),
		line(at(6), schema.ScalarDouble, 6.0, high("NaN")))
	if len(got) != 3 || skipped.Lines != 1 {
		t.Fatalf("%d samples, %d skipped: %v", len(got), skipped.Lines, got)
	}
	for i, want := range []struct {
		at  schema.Time
		val float64
	}{{at(1), 20}, {at(4), 30.5}, {at(6), math.NaN()}} {
		s := got[i]
		if s.Time != want.at || s.Severity != 2 || s.Status != 3 || len(s.Fields) != 0 {
			t.Errorf("sample %d is %+v", i, s)
		}
		if v := s.Value.(float64); v != want.val && !(math.IsNaN(v) && math.IsNaN(want.val)) {
			t.Errorf("value %d is %v, want %v", i, v, want.val)
		}
	}
}

func TestFieldIsOfThePVsTypeOrText(t *testing.T) {
	for i, c := range []struct {
		typ  schema.DBRType
		val  any
		name string
		text string
		want any
	}{
		{schema.ScalarFloat, float32(1), "HIGH", "2.5", float32(2.5)},
		{schema.ScalarInt, int32(1), "HIHI", "60.0", int32(60)},
		{schema.ScalarShort, int32(1), "HIHI", "-7", int32(-7)},
		{schema.ScalarString, "a", "HIGH", "any text", "any text"},
		{schema.ScalarDouble, 1.0, "DESC", "what it is", "what it is"},
		{schema.WaveformDouble, []float64{1, 2}, "HOPR", "9.0", 9.0},
		{schema.ScalarEnum, int32(1), "ZSV", "2", int32(2)},
	} {
		got, skipped := fieldOf(t, c.typ, c.name, line(at(1), c.typ, c.val, schema.FieldValue{Name: c.name, Val: c.text}))
		if len(got) != 1 || skipped.Total() != 0 {
			t.Errorf("%d: %v, %d skipped", i, got, skipped.Total())
			continue
		}
		if got[0].Value != c.want {
			t.Errorf("%d: %v of %T, want %v of %v", i, got[0].Value, got[0].Value, c.want, retrieval.FieldType(c.name, c.typ))
		}
	}
	if got, skipped := fieldOf(t, schema.ScalarInt, "HIGH", line(at(1), schema.ScalarInt, int32(1), schema.FieldValue{Name: "HIGH", Val: "1.5"})); len(got) != 0 || skipped.Lines != 1 {
		t.Errorf("1.5 as an integer: %v, %d skipped", got, skipped.Lines)
	}
}

func TestUnwrittenSamplesAreAnsweredAlone(t *testing.T) {
	st := store(t, partition.PartitionHour)
	put(t, st, pv, map[schema.Time][]byte{at(1): number(at(1), 1)})
	r := retrieval.New(retrieval.Options{Stores: []retrieval.Store{st}, Tail: func(schema.PVName) (schema.DBRType, []retrieval.TailLine) {
		return schema.ScalarDouble, []retrieval.TailLine{{Year: at(2).Year(), Event: number(at(2), 2)}}
	}})
	for _, c := range []struct {
		unwritten bool
		want      string
	}{{false, "[1 2]"}, {true, "[2]"}} {
		s, err := r.Open(retrieval.Query{PV: pv, From: at(0).Go(), To: at(9).Go(), Unwritten: c.unwritten})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(values(t, s)); got != c.want {
			t.Errorf("unwritten %v: %s, want %s", c.unwritten, got, c.want)
		}
		s.Close()
	}
}

func TestConsumptionCountsPartitionsByKey(t *testing.T) {
	st, other := store(t, partition.PartitionHour), store(t, partition.PartitionDay)
	const second = schema.PVName("LAB:T-1:X:LONGER")
	put(t, st, pv, map[schema.Time][]byte{at(1): number(at(1), 1)})
	put(t, other, pv, map[schema.Time][]byte{at(2): number(at(2), 2)})
	put(t, st, second, map[schema.Time][]byte{at(1): number(at(1), 1)})
	appendTo(t, filepath.Join(st.Root, ".trash", "LAB", "T", "1", "X:2023.pb"), []byte("thrown away"))
	appendTo(t, filepath.Join(st.Root, "LAB", "T", "1", "X:2023.pb.tmp"), []byte("not a partition"))
	r := retrieval.New(retrieval.Options{Stores: []retrieval.Store{st, other}})
	got, err := r.Consumption(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{}
	for name, stores := range map[schema.PVName][]retrieval.Store{pv: {st, other}, second: {st}} {
		for _, s := range stores {
			files, err := s.Partitions(schema.ChunkKey(name))
			if err != nil || len(files) != 1 {
				t.Fatalf("%v, %v", files, err)
			}
			want[schema.ChunkKey(name)] += fileSize(t, files[0].Path)
		}
	}
	if len(want) != 2 || fmt.Sprint(got.Bytes) != fmt.Sprint(want) || got.At.IsZero() {
		t.Errorf("%v at %v, want %v", got.Bytes, got.At, want)
	}
	if err := os.RemoveAll(st.Root); err != nil { // a fresh answer is given again without a walk
		t.Fatal(err)
	}
	if again, err := r.Consumption(context.Background()); err != nil || again.At != got.At {
		t.Errorf("walked again at %v: %v", again.At, err)
	}
}

func TestConsumptionEndsWithItsContext(t *testing.T) {
	st := store(t, partition.PartitionHour)
	put(t, st, pv, map[schema.Time][]byte{at(1): number(at(1), 1)})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := retrieval.New(retrieval.Options{Stores: []retrieval.Store{st}})
	if _, err := r.Consumption(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if got, err := r.Consumption(context.Background()); err != nil || len(got.Bytes) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}
