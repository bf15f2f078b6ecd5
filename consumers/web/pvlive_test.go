package web

import (
	"encoding/json"
	"math"
	"testing"
)

func TestLiveValuesAreJSON(t *testing.T) {
	for _, c := range []struct {
		value any
		want  string
	}{
		{1.5, "1.5"}, {math.Inf(1), "null"}, {float32(0.5), "0.5"}, {int32(-3), "-3"}, {"x", `"x"`}, {[]byte{200}, "-56"},
		{[]byte{1, 255}, "[1,-1]"}, {[]float64{1, math.NaN()}, "[1,null]"}, {[]string{"", "b"}, `["","b"]`}, {[]int32{}, "[]"},
	} {
		if got, err := json.Marshal(liveValue(c.value)); err != nil || string(got) != c.want {
			t.Errorf("%v: %s, %v, want %s", c.value, got, err, c.want)
		}
	}
}
