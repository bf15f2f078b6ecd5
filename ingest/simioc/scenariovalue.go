package simioc

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"pvlog/ingest/ca"
	"pvlog/schema"
)

var (
	typeNames     = []string{"string", "short", "float", "enum", "char", "long", "double"} // by native type
	severityNames = []string{"NO_ALARM", "MINOR", "MAJOR", "INVALID"}
	statusNames   = []string{"NO_ALARM", "READ", "WRITE", "HIHI", "HIGH", "LOLO", "LOW", "STATE", "COS", "COMM", "TIMEOUT", "HWLIMIT",
		"CALC", "SCAN", "LINK", "SOFT", "BAD_SUB", "UDF", "DISABLE", "SIMM", "READ_ACCESS", "WRITE_ACCESS"}
	rightsNames = []string{"none", "read", "write", "readwrite"} // by bits
)

// choice reads one of several names.
func choice(path, s string, names []string) (int, error) {
	if i := slices.Index(names, s); i >= 0 {
		return i, nil
	}
	return 0, wrong(path, "%.40q is not one of %s", s, strings.Join(names, ", "))
}

// duration reads a time with its unit, "" as none.
func duration(path, s string, least, most time.Duration) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, wrong(path, "%.40q is no time with a unit as 500ms, 5s or 2h", s)
	}
	if d < least || d > most {
		return 0, wrong(path, "%v, %v to %v are allowed", d, least, most)
	}
	return d, nil
}

// instant reads an RFC 3339 time that Channel Access can carry.
func instant(path, s string) (schema.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return schema.Time{}, wrong(path, "%.40q is no time as 2026-01-31T12:00:00Z", s)
	}
	if at := schema.TimeOf(t); onWire(at) {
		return at, nil
	}
	return schema.Time{}, wrong(path, "Channel Access has no stamp %s, only 1990 to 2126", s)
}

// kind is what a value of a file must fit.
type kind struct {
	native ca.DBR
	count  int
	labels []string
}

func (r *Record) kind() kind { return kind{native: r.Type, count: r.elements(), labels: r.Labels} }

var errScalar = errors.New("a list where the record holds one value")

// value turns a value of a file into one for [Record].Value.
func (k kind) value(x any) (any, error) {
	var v any
	var err error
	if list, ok := x.([]any); ok {
		if k.count == 1 {
			return nil, errScalar
		}
		v, err = k.list(list)
	} else {
		v, err = k.scalar(x)
	}
	if err != nil {
		return nil, err
	}
	_, err = encodeValue(k.native, k.count, v)
	return v, err
}

func (k kind) list(xs []any) (any, error) {
	if k.native == ca.DBRString {
		var texts []string
		for _, x := range xs {
			s, ok := x.(string)
			if !ok {
				return nil, fmt.Errorf("%v is not text", x)
			}
			texts = append(texts, s)
		}
		return texts, nil
	}
	numbers := make([]float64, len(xs))
	for i, x := range xs {
		var err error
		if numbers[i], err = k.number(x); err != nil {
			return nil, err
		}
	}
	return typed(k.native, numbers, false), nil
}

func (k kind) scalar(x any) (any, error) {
	if s, ok := x.(string); ok && (k.native == ca.DBRString || k.native == ca.DBRChar) {
		return s, nil
	}
	if k.native == ca.DBRString {
		return nil, fmt.Errorf("%v is not text", x)
	}
	f, err := k.number(x)
	if err != nil {
		return nil, err
	}
	return typed(k.native, []float64{f}, true), nil
}

// number reads a number that the native type can hold, or a label.
func (k kind) number(x any) (float64, error) {
	var f float64
	switch x := x.(type) {
	case uint64:
		f = float64(x)
	case int64:
		f = float64(x)
	case float64:
		f = x
	case string:
		i := slices.Index(k.labels, x)
		if i < 0 || k.native != ca.DBREnum {
			return 0, fmt.Errorf("%.40q is not a number", x)
		}
		f = float64(i)
	default:
		return 0, fmt.Errorf("%v is not a number", x)
	}
	if k.native == ca.DBRFloat || k.native == ca.DBRDouble {
		return f, nil
	}
	if lo, hi := integerRange(k.native); f != math.Trunc(f) || f < float64(lo) || f > float64(hi) {
		return 0, fmt.Errorf("%v is not a whole number from %d to %d", x, lo, hi)
	}
	return f, nil
}

// typed are numbers as the Go type of a native type: a slice or one of them.
func typed(t ca.DBR, xs []float64, scalar bool) any {
	switch t {
	case ca.DBRString:
		return cast(xs, scalar, func(f float64) string { return strconv.FormatFloat(f, 'g', 10, 64) })
	case ca.DBRShort:
		return cast(xs, scalar, func(f float64) int16 { return int16(int64(f)) })
	case ca.DBRFloat:
		return cast(xs, scalar, func(f float64) float32 { return float32(f) })
	case ca.DBREnum:
		return cast(xs, scalar, func(f float64) uint16 { return uint16(int64(f)) })
	case ca.DBRChar:
		return cast(xs, scalar, func(f float64) byte { return byte(int64(f)) })
	case ca.DBRLong:
		return cast(xs, scalar, func(f float64) int32 { return int32(int64(f)) })
	}
	return cast(xs, scalar, func(f float64) float64 { return f })
}

func cast[T any](xs []float64, scalar bool, one func(float64) T) any {
	if scalar {
		return one(xs[0])
	}
	out := make([]T, len(xs))
	for i, x := range xs {
		out[i] = one(x)
	}
	return out
}

var generatorNames = []string{"sine", "ramp", "noise", "counter", "list"}

// signal is a generator of a file.
type signal struct {
	kind      string
	low, high float64
	period    time.Duration
}

// at is element i of the n-th processing.
func (s *signal) at(n uint64, i int, now time.Time) float64 {
	turn := float64(now.UnixNano()%int64(s.period)) / float64(s.period)
	span := s.high - s.low
	switch s.kind {
	case "sine":
		return s.low + span/2*(1+math.Sin(2*math.Pi*turn+float64(i)/10))
	case "ramp":
		return s.low + span*math.Mod(turn+float64(i)/100, 1)
	case "noise":
		return s.low + span*rand.Float64()
	}
	return s.low + float64(n) + float64(i)
}

// generator makes the function of a record from its generate key.
func (g *generateFile) generator(path string, k kind) (func(uint64, time.Time) any, error) {
	if _, err := choice(path+".kind", g.Kind, generatorNames); err != nil {
		return nil, err
	}
	if (g.Kind == "list") != (len(g.Values) > 0) {
		return nil, wrong(path+".values", "a list has values, other kinds have none")
	}
	period, err := duration(path+".period", g.Period, time.Millisecond, maxSpan)
	if err != nil {
		return nil, err
	}
	if g.Kind == "list" {
		return k.cycle(path+".values", g.Values)
	}
	s := signal{kind: g.Kind, low: -1, high: 1, period: 10 * time.Second}
	if g.Kind == "counter" {
		s.low = 0
	}
	set(&s.low, g.Low)
	set(&s.high, g.High)
	if period > 0 {
		s.period = period
	}
	return func(n uint64, now time.Time) any {
		xs := make([]float64, k.count)
		for i := range xs {
			xs[i] = s.at(n, i, now)
		}
		return typed(k.native, xs, k.count == 1)
	}, nil
}

// cycle gives the values of a list one after the other, again and again.
func (k kind) cycle(path string, list []any) (func(uint64, time.Time) any, error) {
	values := make([]any, len(list))
	for i, x := range list {
		var err error
		if values[i], err = k.value(x); err != nil {
			return nil, wrong(fmt.Sprintf("%s[%d]", path, i), "%w", err)
		}
	}
	return func(n uint64, _ time.Time) any { return values[n%uint64(len(values))] }, nil
}
