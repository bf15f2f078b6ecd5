package integration

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

// TestEpicsRow04MonitorAtARate: the first update at once, then one for each
// processing, stamps in order.
func TestEpicsRow04MonitorAtARate(t *testing.T) {
	t.Parallel()
	ioc := newMatrixIOC(t, nil)
	client := newMatrixClient(t, caclient.Options{}, ioc.addr())
	for _, name := range []string{"calc10", "ai10"} {
		w, _ := client.watch(matrixPrefix + name)
		last := decodeUpdate(t, await(t, w.updates, "update"), false)
		first := last.Time.Go()
		const n = 30
		for range n {
			s := decodeUpdate(t, await(t, w.updates, "update"), false)
			if !s.Time.After(last.Time) {
				t.Errorf("%s: %v after %v", name, s.Time, last.Time)
			}
			if s.Value.(float64) != last.Value.(float64)+1 {
				t.Errorf("%s: %v after %v", name, s.Value, last.Value)
			}
			last = s
		}
		// by the IOC's own clock, so that a busy machine does no harm
		if took := last.Time.Go().Sub(first); took < (n-10)*time.Second/10 || took > (n+30)*time.Second/10 {
			t.Errorf("%s: %d updates at 10 Hz are of %v", name, n, took)
		}
	}
}

// TestEpicsRow06And07ArraysOfEveryLength: the length follows NORD, beyond the
// standard header too, and empty is empty.
func TestEpicsRow06And07ArraysOfEveryLength(t *testing.T) {
	ioc := newMatrixIOC(t, nil)
	client := newMatrixClient(t, caclient.Options{}, ioc.addr())
	for name, lengths := range map[string][]int{"wave": {1, 2, 10, 3}, "big": {1, 10, 20_000, 2, 9_000}} {
		w, ch := client.watch(matrixPrefix + name)
		if v := w.value(t, true).([]float64); len(v) != 0 {
			t.Errorf("%s: an empty array has %d elements", name, len(v))
		}
		for _, n := range lengths {
			want := make([]float64, n)
			for i := range want {
				want[i] = float64(i) / 3
			}
			put(t, ch, want)
			if got := w.value(t, true).([]float64); !slices.Equal(got, want) {
				t.Errorf("%s: %d elements arrived as %d", name, n, len(got))
			}
		}
		ioc.shell("dbpf " + matrixPrefix + name + ` "[]"`)
		if got := w.value(t, true).([]float64); len(got) != 0 {
			t.Errorf("%s: emptied, it has %d elements", name, len(got))
		}
		u, err := ch.Get(t.Context(), ca.DBRTimeDouble, 0)
		if err != nil || u.Count != 0 {
			t.Errorf("%s: a get has %d elements (%v), want none", name, u.Count, err)
		}
	}
}

// TestEpicsRow08MoreElementsThanThereAre are zeros.
func TestEpicsRow08MoreElementsThanThereAre(t *testing.T) {
	ioc := newMatrixIOC(t, nil)
	client := newMatrixClient(t, caclient.Options{}, ioc.addr())
	w, ch := client.watch(matrixPrefix + "wave")
	await(t, w.updates, "update")
	put(t, ch, []float64{1, 2, 3})
	for _, count := range []uint32{5, 10, 1} {
		u, err := ch.Get(t.Context(), ca.DBRTimeDouble, count)
		if err != nil {
			t.Fatal(err)
		}
		want := []float64{1, 2, 3, 0, 0, 0, 0, 0, 0, 0}[:count]
		if v := decodeUpdate(t, u, true).Value.([]float64); !slices.Equal(v, want) {
			t.Errorf("%d elements: got %v", count, v)
		}
	}
	// more than the channel has: an answer too
	u, err := ch.Get(t.Context(), ca.DBRTimeDouble, 25)
	if err != nil || u.Count != 25 {
		t.Fatalf("25 of 10 elements: %d, %v", u.Count, err)
	}
	if v := decodeUpdate(t, u, true).Value.([]float64); !slices.Equal(v, append([]float64{1, 2, 3}, make([]float64, 22)...)) {
		t.Errorf("25 of 10 elements: got %v", v)
	}
	if len(w.lost) != 0 {
		t.Error("the circuit was lost")
	}
}

// TestEpicsRow09OddNumbersArriveBitForBit, as put and as a monitor brings them.
func TestEpicsRow09OddNumbersArriveBitForBit(t *testing.T) {
	ioc := newMatrixIOC(t, nil)
	client := newMatrixClient(t, caclient.Options{}, ioc.addr())
	w, ch := client.watch(matrixPrefix + "wave")
	await(t, w.updates, "update")
	odd := []float64{
		math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1),
		math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64, math.MaxFloat64, math.Float64frombits(0x000F_FFFF_FFFF_FFFF),
	}
	for _, v := range odd {
		put(t, ch, []float64{v})
		if got := w.value(t, true).([]float64); len(got) != 1 || math.Float64bits(got[0]) != math.Float64bits(v) {
			t.Errorf("%v became %v", v, got)
		}
	}
}

// TestEpicsRow10NeverProcessed has no value yet, and says so.
func TestEpicsRow10NeverProcessed(t *testing.T) {
	ioc := newMatrixIOC(t, nil)
	client := newMatrixClient(t, caclient.Options{}, ioc.addr())
	w, _ := client.watch(matrixPrefix + "never")
	s := decodeUpdate(t, await(t, w.updates, "update"), false)
	const invalid, udf = 3, 17
	if s.Severity != invalid || s.Status != udf || s.Time != (schema.Time{Sec: schema.EPICSEpoch}) {
		t.Errorf("got %+v", s)
	}
}

// TestEpicsRow17FieldsAliasesAndFilters: what stands behind a name and its dot.
func TestEpicsRow17FieldsAliasesAndFilters(t *testing.T) {
	ioc := newMatrixIOC(t, nil)
	client := newMatrixClient(t, caclient.Options{}, ioc.addr())
	text := func(s string) string { return fmt.Sprint(append([]byte(s), 0)) }
	for _, c := range []struct {
		name   string
		native ca.DBR
		count  uint32
		want   string
	}{
		{"double.NAME", ca.DBRString, 1, matrixPrefix + "double"},
		{"alias.NAME", ca.DBRString, 1, matrixPrefix + "double"},
		{"alias", ca.DBRDouble, 1, "3.14159265358979"},
		{"alias.VAL", ca.DBRDouble, 1, "3.14159265358979"},
		{"alias.", ca.DBRDouble, 1, "3.14159265358979"},
		{"alias.NAME$", ca.DBRChar, 61, text(matrixPrefix + "double")},
		{"double.RTYP", ca.DBRString, 1, "ao"},
		{"double.DESC", ca.DBRString, 1, "an analog output"},
		{"double.DESC$", ca.DBRChar, 41, text("an analog output")},
		{"long.EGU", ca.DBRString, 1, "counts"},
		{"double.PREC", ca.DBRShort, 1, "3"},
		{"double.SCAN", ca.DBREnum, 1, "0"},
		{"lsi", ca.DBRString, 1, "a text of more than forty characters, w"},
		{"lsi.$", ca.DBRChar, 200, text("a text of more than forty characters, which only a long string holds")},
		{"lsi.VAL$", ca.DBRChar, 200, text("a text of more than forty characters, which only a long string holds")},
		{"lso.VAL$", ca.DBRChar, 200, text("another text of more than forty characters, of an lso record")},
		{`char.{"arr":{"s":1,"e":3}}`, ca.DBRChar, 3, "[50 0 255]"},
		{"char.[1:3]", ca.DBRChar, 3, "[50 0 255]"},
		{"char.[-1]", ca.DBRChar, 1, "[7]"},
		{`double.{"dbnd":{"abs":1.5}}`, ca.DBRDouble, 1, "3.14159265358979"},
	} {
		w, ch := client.watch(matrixPrefix + c.name)
		info := await(t, w.connected, "connection of "+c.name)
		if info.Native != c.native || info.Count != c.count {
			t.Errorf("%s: got %v with %d elements", c.name, info.Native, info.Count)
		}
		got := fmt.Sprint(w.value(t, info.Count != 1))
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
		ch.Close()
	}
	// the deadband filter holds small steps back, the record does not
	filtered, _ := client.watch(matrixPrefix + `alias.{"dbnd":{"abs":1.5}}`)
	all, ch := client.watch(matrixPrefix + "alias")
	filtered.value(t, false)
	all.value(t, false)
	for _, v := range []float64{4, 5, 5.5, 8} {
		put(t, ch, []float64{v})
		if got := all.value(t, false); got != v {
			t.Errorf("got %v, want %v", got, v)
		}
	}
	for _, want := range []float64{5, 8} {
		if got := filtered.value(t, false); got != want {
			t.Errorf("the filter gave %v, want %v", got, want)
		}
	}
}
