package partition

import (
	"math/rand/v2"
	"testing"
	"time"

	"pvlog/schema"
)

func second(t testing.TB, s string) int64 {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return at.Unix()
}

func TestNamesAreTheAppliances(t *testing.T) {
	for _, c := range []struct {
		g            Granularity
		at           string
		suffix, next string
	}{
		{Partition5Min, "2012-02-29T12:24:26Z", "2012_02_29_12_20", "2012-02-29T12:25:00Z"},
		{Partition15Min, "2012-02-29T12:24:26Z", "2012_02_29_12_15", "2012-02-29T12:30:00Z"},
		{Partition30Min, "2012-02-29T12:24:26Z", "2012_02_29_12_00", "2012-02-29T12:30:00Z"},
		{PartitionHour, "2012-02-29T12:24:26Z", "2012_02_29_12", "2012-02-29T13:00:00Z"},
		{PartitionDay, "2012-02-29T12:24:26Z", "2012_02_29", "2012-03-01T00:00:00Z"},
		{PartitionMonth, "2012-02-29T12:24:26Z", "2012_02", "2012-03-01T00:00:00Z"},
		{PartitionYear, "2012-02-29T12:24:26Z", "2012", "2013-01-01T00:00:00Z"},
		// Boundaries that the Appliance's TimeUtilsTest states.
		{Partition5Min, "2010-03-17T22:17:44Z", "2010_03_17_22_15", "2010-03-17T22:20:00Z"},
		{Partition15Min, "2010-03-17T22:17:44Z", "2010_03_17_22_15", "2010-03-17T22:30:00Z"},
		{Partition30Min, "2010-03-17T22:17:44Z", "2010_03_17_22_00", "2010-03-17T22:30:00Z"},
		{Partition5Min, "2012-02-29T23:59:59Z", "2012_02_29_23_55", "2012-03-01T00:00:00Z"},
		{PartitionHour, "2012-02-29T23:59:59Z", "2012_02_29_23", "2012-03-01T00:00:00Z"},
		{PartitionDay, "2012-02-29T23:59:59Z", "2012_02_29", "2012-03-01T00:00:00Z"},
		{PartitionMonth, "2010-02-01T00:00:00Z", "2010_02", "2010-03-01T00:00:00Z"},
		{PartitionMonth, "2011-12-31T23:59:59Z", "2011_12", "2012-01-01T00:00:00Z"},
		{PartitionYear, "2016-12-31T23:59:59Z", "2016", "2017-01-01T00:00:00Z"}, // the second before a leap second
		{PartitionHour, "1969-12-31T23:00:01Z", "1969_12_31_23", "1970-01-01T00:00:00Z"},
		{PartitionDay, "1900-02-28T01:00:00Z", "1900_02_28", "1900-03-01T00:00:00Z"}, // 1900 was no leap year
		{PartitionHour, "2026-11-23T00:00:00Z", "2026_11_23_00", "2026-11-23T01:00:00Z"},
	} {
		start := c.g.Start(schema.Time{Sec: second(t, c.at), Nsec: 999_999_999})
		if got := c.g.Suffix(start); got != c.suffix {
			t.Errorf("%s of %s is %s, want %s", c.g, c.at, got, c.suffix)
		}
		if got := c.g.Next(start); got != second(t, c.next) {
			t.Errorf("%s after %s begins at %v, want %s", c.g, c.at, time.Unix(got, 0).UTC(), c.next)
		}
	}
}

func TestPathIsTheAppliances(t *testing.T) {
	start := second(t, "2012-08-24T16:00:00Z")
	if got := Path("/arch/sts", schema.ChunkKey("EIOC:LI30:MP01:HEARTBEAT"), PartitionHour, start); got != "/arch/sts/EIOC/LI30/MP01/HEARTBEAT:2012_08_24_16.pb" {
		t.Error(got)
	}
	if got := Path("/arch/lts", schema.ChunkKey("TST-CT{}Sig:1-I"), PartitionYear, second(t, "2014-01-01T00:00:00Z")); got != "/arch/lts/TST/CT{}Sig/1/I:2014.pb" {
		t.Error(got)
	}
}

// TestPartitionsTileTime checks on random instants that partitions neither
// overlap nor leave gaps, that none straddles a year, and that a name leads
// back to its partition.
func TestPartitionsTileTime(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		at := schema.Time{Sec: rng.Int64N(second(t, "2400-01-01T00:00:00Z")) - 1e9}
		for _, g := range granularities {
			start := g.Start(at)
			next := g.Next(start)
			if start > at.Sec || at.Sec >= next || g.Start(schema.Time{Sec: next - 1}) != start || g.Start(schema.Time{Sec: next}) != next || g.Next(at.Sec) != next {
				t.Fatalf("%s of %v: %d to %d", g, at, start, next)
			}
			if first, last := (schema.Time{Sec: start}), (schema.Time{Sec: next - 1}); first.Year() != last.Year() {
				t.Fatalf("%s of %v spans two years", g, at)
			}
			if back, err := g.parseSuffix(g.Suffix(start)); err != nil || back != start {
				t.Fatalf("%s: %s leads to %d, %v, want %d", g, g.Suffix(start), back, err, start)
			}
		}
	}
}

func TestOddNamesAreNoPartitions(t *testing.T) {
	for _, suffix := range []string{"", "2012", "2012_02_29_12_20", "2012_2_29_12", "2012_02_30_12", "2012_02_29_24", "2012_13_01_00",
		"2012_02_29_1x", "+012_02_29_12", "2012_02_29_12 ", "2012__29_12", "99999_02_29_12", "2011_02_29_12", "2012_02_29_-1"} {
		if start, err := PartitionHour.parseSuffix(suffix); err == nil {
			t.Errorf("%q is taken for %v", suffix, time.Unix(start, 0).UTC())
		}
	}
}

func TestGranularitiesAreReadInAnyCase(t *testing.T) {
	for s, want := range map[string]Granularity{
		"PARTITION_HOUR": PartitionHour, "hour": PartitionHour, "Year": PartitionYear, "partition_5min": Partition5Min,
		"15MIN": Partition15Min, "30min": Partition30Min, " day ": PartitionDay, "month": PartitionMonth,
	} {
		if got, err := ParseGranularity(s); err != nil || got != want {
			t.Errorf("%q is %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "PARTITION_", "week", "PARTITION_PARTITION_HOUR", "5"} {
		if got, err := ParseGranularity(s); err == nil || schema.CodeOf(err) != schema.Invalid {
			t.Errorf("%q is %q, %v", s, got, err)
		}
	}
}
