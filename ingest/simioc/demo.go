package simioc

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"pvlog/ingest/ca"
)

// Demo gives the records of `pvlog ioc`: each native type as a scalar and as
// an array, alarms, rates from 0.1 to 1000 Hz, and the hard cases that archives
// stumble over (never processed, empty, of changing length, 20,000 elements).
func Demo() []Record {
	records := append(demoScalars(), demoArrays()...)
	return append(records, demoRates()...)
}

// demoRange are limits of a signal that swings between lo and hi and alarms in
// its outer tenths.
func demoRange(lo, hi float64) Limits {
	d := (hi - lo) / 20
	return Limits{LOPR: lo, HOPR: hi, LOLO: lo + d, LOW: lo + 2*d, HIGH: hi - 2*d, HIHI: hi - d, Alarm: true}
}

// sine of one turn in period seconds.
func sine(at time.Time, period float64) float64 {
	return math.Sin(2 * math.Pi * math.Mod(float64(at.UnixNano())/1e9, period) / period)
}

func demoScalars() []Record {
	words := strings.Fields("idle warming-up running cooling-down")
	return []Record{
		{Name: "sine", Type: ca.DBRDouble, Rate: 10, Desc: "one turn in 60 s", Units: "V", Precision: 3, Limits: demoRange(-10, 10),
			Generate: func(_ uint64, at time.Time) any { return 10 * sine(at, 60) }},
		{Name: "ramp", Type: ca.DBRDouble, Rate: 1, Desc: "0 to 99", Units: "mm", Precision: 1, Limits: Limits{HOPR: 100},
			Generate: func(n uint64, _ time.Time) any { return float64(n % 100) }},
		{Name: "noise", Type: ca.DBRDouble, Rate: 10, Desc: "normal distribution", Units: "uA", Precision: 4, Limits: Limits{LOPR: -5, HOPR: 5},
			Generate: func(uint64, time.Time) any { return rand.NormFloat64() }},
		{Name: "alarm", Type: ca.DBRDouble, Rate: 2, Desc: "passes all limits", Units: "degC", Precision: 1, Limits: demoRange(0, 100),
			Generate: func(n uint64, _ time.Time) any { return math.Abs(float64(n*5%200) - 100) }},
		{Name: "counter", Type: ca.DBRLong, Rate: 1, Desc: "processings since start", Limits: Limits{HOPR: math.MaxInt32},
			Generate: func(n uint64, _ time.Time) any { return int32(n) }},
		{Name: "enum", Type: ca.DBREnum, Rate: 0.5, Desc: "four states", Labels: []string{"Off", "Standby", "On", "Fault"},
			Generate: func(n uint64, _ time.Time) any { return uint16(n % 4) }},
		{Name: "bool", Type: ca.DBREnum, Rate: 0.2, Desc: "two states", Labels: []string{"Closed", "Open"},
			Generate: func(n uint64, _ time.Time) any { return uint16(n % 2) }},
		{Name: "string", Type: ca.DBRString, Rate: 0.5, Desc: "a word and a number",
			Generate: func(n uint64, _ time.Time) any { return fmt.Sprintf("%s %d", words[n%4], n) }},
		{Name: "char", Type: ca.DBRChar, Rate: 1, Desc: "0 to 255",
			Generate: func(n uint64, _ time.Time) any { return byte(n) }},
		{Name: "short", Type: ca.DBRShort, Rate: 1, Desc: "a 16 bit saw tooth",
			Generate: func(n uint64, _ time.Time) any { return int16(n * 1000) }},
		{Name: "long", Type: ca.DBRLong, Rate: 1, Desc: "a 32 bit saw tooth",
			Generate: func(n uint64, _ time.Time) any { return int32(n * 123_456_789) }},
		{Name: "float", Type: ca.DBRFloat, Rate: 1, Desc: "single precision", Precision: 5,
			Generate: func(_ uint64, at time.Time) any { return float32(sine(at, 30)) }},
		{Name: "double", Type: ca.DBRDouble, Rate: 1, Desc: "twenty orders of magnitude", Precision: 3,
			Generate: func(n uint64, _ time.Time) any { return math.Pow(10, float64(n%21)-10) }},
		{Name: "undefined", Type: ca.DBRDouble, Desc: "never processed", Units: "V", Precision: 2},
		{Name: "setpoint", Type: ca.DBRDouble, RTYP: "ao", Desc: "changes when you write", Units: "A", Precision: 2,
			Limits: demoRange(0, 500), Value: 250.0},
	}
}

// array makes the elements of a demo waveform, element i of processing n.
func array[T any](count func(n uint64) int, element func(n uint64, i int) T) func(uint64, time.Time) any {
	return func(n uint64, _ time.Time) any {
		xs := make([]T, count(n))
		for i := range xs {
			xs[i] = element(n, i)
		}
		return xs
	}
}

func fixed(count int) func(uint64) int { return func(uint64) int { return count } }

// wave is a travelling sine between -1 and 1.
func wave(n uint64, i int) float64 { return math.Sin(float64(n)/5 + float64(i)/10) }

func demoArrays() []Record {
	text := "The quick brown fox jumps over the lazy dog, and this text is longer than 40 bytes."
	return []Record{
		{Name: "wave:double", Type: ca.DBRDouble, Count: 256, Rate: 1, Units: "V", Precision: 4, Limits: Limits{LOPR: -1, HOPR: 1}, Generate: array(fixed(256), wave)},
		{Name: "wave:float", Type: ca.DBRFloat, Count: 128, Rate: 1, Precision: 4,
			Generate: array(fixed(128), func(n uint64, i int) float32 { return float32(wave(n, i)) })},
		{Name: "wave:long", Type: ca.DBRLong, Count: 64, Rate: 1,
			Generate: array(fixed(64), func(n uint64, i int) int32 { return int32(wave(n, i) * 1e9) })},
		{Name: "wave:short", Type: ca.DBRShort, Count: 64, Rate: 1,
			Generate: array(fixed(64), func(n uint64, i int) int16 { return int16(wave(n, i) * 32767) })},
		{Name: "wave:char", Type: ca.DBRChar, Count: 100, Rate: 1,
			Generate: array(fixed(100), func(n uint64, i int) byte { return byte(n + uint64(i)) })},
		{Name: "wave:enum", Type: ca.DBREnum, Count: 10, Rate: 0.5, Labels: []string{"Low", "Middle", "High"},
			Generate: array(fixed(10), func(n uint64, i int) uint16 { return uint16(n+uint64(i)) % 3 })},
		{Name: "wave:string", Type: ca.DBRString, Count: 8, Rate: 0.5,
			Generate: array(fixed(8), func(n uint64, i int) string { return fmt.Sprintf("item %d of round %d", i, n) })},
		{Name: "wave:text", Type: ca.DBRChar, Count: 128, Rate: 0.5, Desc: "long string, one word more each time",
			Generate: func(n uint64, _ time.Time) any { return longText(text, n) }},
		{Name: "wave:variable", Type: ca.DBRDouble, Count: 64, Rate: 1, Precision: 4, Desc: "0 to 64 elements",
			Generate: array(func(n uint64) int { return int(n*7) % 65 }, wave)},
		{Name: "wave:empty", Type: ca.DBRLong, Count: 16, Rate: 0.5, Desc: "empty every other time",
			Generate: array(func(n uint64) int { return int(n%2) * 3 }, func(n uint64, i int) int32 { return int32(n) + int32(i) })},
		{Name: "wave:large", Type: ca.DBRDouble, Count: 20_000, Rate: 0.1, Precision: 4, Desc: "20,000 elements", Generate: array(fixed(20_000), wave)},
	}
}

// longText is the first words of text, n of them before it starts again.
func longText(text string, n uint64) string {
	words := strings.Fields(text)
	return strings.Join(words[:n%uint64(len(words)+1)], " ")
}

// demoRates are doubles that count their processings at the rate in the name.
// A record name has no dot, so 0.1 Hz is "0_1".
func demoRates() []Record {
	var records []Record
	for _, rate := range []float64{0.1, 1, 10, 100, 1000} {
		name := strings.ReplaceAll(fmt.Sprintf("rate:%v", rate), ".", "_")
		records = append(records, Record{Name: name, Type: ca.DBRDouble, Rate: rate, Units: "1", Desc: fmt.Sprintf("counts at %v Hz", rate),
			Generate: func(n uint64, _ time.Time) any { return float64(n) }})
	}
	return records
}

// Load gives n doubles named load:000001 and so on, each counting its
// processings at rate Hz: the load generator. Their processing is spread over
// the period and allocates nothing.
func Load(n int, rate float64) []Record {
	records := make([]Record, n)
	for i := range records {
		records[i] = Record{Name: fmt.Sprintf("load:%06d", i+1), Type: ca.DBRDouble, Rate: rate, Units: "1", Precision: 1, counts: true}
	}
	return records
}
