package schema_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"pvlog/schema"
)

// TestNetworkOrderIsAppendedAsNumbersAre for any bytes and lengths.
func TestNetworkOrderIsAppendedAsNumbersAre(t *testing.T) {
	order := binary.BigEndian
	for _, n := range []int{0, 1, 2, 17, 1000} {
		v := make([]byte, 8*n)
		for i := range v {
			v[i] = byte(rand.Uint32())
		}
		clear(v[:min(len(v), 32)]) // small numbers too
		head := []byte("before")
		for name, pair := range map[string][2][]byte{
			"doubles": {schema.AppendNetwork64(head, v), schema.AppendDoubles(head, n, func(i int) float64 { return math.Float64frombits(order.Uint64(v[8*i:])) })},
			"ints":    {schema.AppendNetwork32(head, v), schema.AppendInts(head, 2*n, func(i int) int32 { return int32(order.Uint32(v[4*i:])) })},
			"shorts":  {schema.AppendNetwork16(head, v, true), schema.AppendSints(head, 4*n, func(i int) int32 { return int32(int16(order.Uint16(v[2*i:]))) })},
			"enums":   {schema.AppendNetwork16(head, v, false), schema.AppendSints(head, 4*n, func(i int) int32 { return int32(order.Uint16(v[2*i:])) })},
		} {
			if !bytes.Equal(pair[0], pair[1]) {
				t.Errorf("%d bytes as %s: % .40x, want % .40x", len(v), name, pair[0], pair[1])
			}
		}
	}
}
