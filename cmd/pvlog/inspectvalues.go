package main

import "math"

// values are statistics of the numbers in a file; of arrays, those of all
// elements.
type values struct {
	Count    int     `json:"count"` // finite numbers
	NaN      int     `json:"not_finite"`
	Min      float64 `json:"min"`
	Max      float64 `json:"max"`
	Mean     float64 `json:"mean"`
	Shortest int     `json:"shortest_array,omitempty"`
	Longest  int     `json:"longest_array,omitempty"`

	arrays bool
}

func (v *values) add(value any) {
	switch value := value.(type) {
	case float64:
		v.number(value)
	case float32:
		v.number(float64(value))
	case int32:
		v.number(float64(value))
	case []float64:
		numbers(v, value)
	case []float32:
		numbers(v, value)
	case []int32:
		numbers(v, value)
	case []byte:
		v.length(len(value))
		for _, b := range value {
			v.number(float64(int8(b)))
		}
	case []string:
		v.length(len(value))
	}
}

func numbers[T float64 | float32 | int32](v *values, list []T) {
	v.length(len(list))
	for _, x := range list {
		v.number(float64(x))
	}
}

func (v *values) length(n int) {
	if !v.arrays || n < v.Shortest {
		v.Shortest = n
	}
	v.arrays, v.Longest = true, max(v.Longest, n)
}

func (v *values) number(x float64) {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		v.NaN++
		return
	}
	if v.Count == 0 {
		v.Min, v.Max = x, x
	}
	v.Count++
	v.Min, v.Max = min(v.Min, x), max(v.Max, x)
	v.Mean += (x - v.Mean) / float64(v.Count) // no sum that could become infinite
	if math.IsInf(v.Mean, 0) || math.IsNaN(v.Mean) {
		v.Mean = v.Min/2 + v.Max/2
	}
}

func (v *values) print(out *printer) {
	if v.arrays {
		out.printf("  arrays:   of %d to %d elements\n", v.Shortest, v.Longest)
	}
	if v.Count > 0 {
		out.printf("  values:   %v to %v, mean %v\n", v.Min, v.Max, v.Mean)
	}
	if v.NaN > 0 {
		out.printf("  not finite: %d\n", v.NaN)
	}
}
