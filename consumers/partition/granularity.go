package partition

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"pvlog/schema"
)

// Granularity is how much time one partition spans, by the Appliance's names.
type Granularity string

// The granularities of the Appliance. All partitions begin and end in UTC.
const (
	Partition5Min  Granularity = "PARTITION_5MIN"
	Partition15Min Granularity = "PARTITION_15MIN"
	Partition30Min Granularity = "PARTITION_30MIN"
	PartitionHour  Granularity = "PARTITION_HOUR"
	PartitionDay   Granularity = "PARTITION_DAY"
	PartitionMonth Granularity = "PARTITION_MONTH"
	PartitionYear  Granularity = "PARTITION_YEAR"
)

// granularities are all of them, shortest first.
var granularities = []Granularity{
	Partition5Min, Partition15Min, Partition30Min, PartitionHour, PartitionDay, PartitionMonth, PartitionYear,
}

// ParseGranularity reads "PARTITION_HOUR", or "hour", in any case.
func ParseGranularity(s string) (Granularity, error) {
	name := strings.ToUpper(strings.TrimSpace(s))
	for _, g := range granularities {
		if name == string(g) || "PARTITION_"+name == string(g) {
			return g, nil
		}
	}
	return "", schema.Errorf(schema.Invalid, "granularity %q: use 5min, 15min, 30min, hour, day, month or year", s)
}

// seconds is the span of a granularity whose partitions are all equally long,
// else 0.
func (g Granularity) seconds() int64 {
	switch g {
	case Partition5Min:
		return 300
	case Partition15Min:
		return 900
	case Partition30Min:
		return 1800
	case PartitionHour:
		return 3600
	case PartitionDay:
		return 86400
	}
	return 0
}

// Start is the first Unix second of the partition that t falls into.
func (g Granularity) Start(t schema.Time) int64 {
	if n := g.seconds(); n != 0 {
		return t.Sec - ((t.Sec%n)+n)%n
	}
	year, month, _ := time.Unix(t.Sec, 0).UTC().Date()
	if g == PartitionMonth {
		return time.Date(year, month, 1, 0, 0, 0, 0, time.UTC).Unix()
	}
	return schema.YearStart(year)
}

// Next is the first Unix second after the partition that start falls into.
func (g Granularity) Next(start int64) int64 {
	start = g.Start(schema.Time{Sec: start})
	if n := g.seconds(); n != 0 {
		return start + n
	}
	year, month, _ := time.Unix(start, 0).UTC().Date()
	if g == PartitionMonth {
		return time.Date(year, month+1, 1, 0, 0, 0, 0, time.UTC).Unix()
	}
	return schema.YearStart(year + 1)
}

// parts is how many numbers the suffix has.
func (g Granularity) parts() int {
	switch g {
	case PartitionYear:
		return 1
	case PartitionMonth:
		return 2
	case PartitionDay:
		return 3
	case PartitionHour:
		return 4
	}
	return 5
}

// Suffix is the partition's part of the file name: "2012_02_29_12" for an hour.
func (g Granularity) Suffix(start int64) string {
	t := time.Unix(start, 0).UTC()
	b := strconv.AppendInt(make([]byte, 0, 16), int64(t.Year()), 10)
	for _, n := range []int{int(t.Month()), t.Day(), t.Hour(), t.Minute()}[:g.parts()-1] {
		b = append(b, '_', byte('0'+n/10), byte('0'+n%10))
	}
	return string(b)
}

// parseSuffix is the first second that a suffix names. It need not be the start
// of a partition: after a change from 5 to 15 minutes older files keep theirs.
func (g Granularity) parseSuffix(suffix string) (int64, error) {
	fields := strings.Split(suffix, "_")
	if len(fields) != g.parts() {
		return 0, fmt.Errorf("%q has %d parts, %s has %d", suffix, len(fields), g, g.parts())
	}
	n := [5]int{1970, 1, 1, 0, 0}
	for i, field := range fields {
		v, err := strconv.ParseUint(field, 10, 16)
		if err != nil || len(field) != digits(i) {
			return 0, fmt.Errorf("%q is not the name of a partition", suffix)
		}
		n[i] = int(v)
	}
	t := time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], 0, 0, time.UTC)
	if t.Year() != n[0] || int(t.Month()) != n[1] || t.Day() != n[2] || t.Hour() != n[3] || t.Minute() != n[4] {
		return 0, fmt.Errorf("%q is not a date", suffix)
	}
	return t.Unix(), nil
}

// digits is the width of the i-th number of a suffix.
func digits(i int) int {
	if i == 0 {
		return 4
	}
	return 2
}
