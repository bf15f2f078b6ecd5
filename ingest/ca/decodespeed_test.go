package ca

import (
	"fmt"
	"testing"
)

// decodeSizes are a scalar and arrays of it, up to what takes an extended
// header.
var decodeSizes = []int{1, 10, 1000, 100_000}

// sampleValues gives n values of a native type as AppendTime takes them.
func sampleValues(native DBR, n int) any {
	switch native {
	case DBRString:
		return repeated(n, "beam on target")
	case DBRShort:
		return repeated(n, int16(-1234))
	case DBRFloat:
		return repeated(n, float32(8.25))
	case DBREnum:
		return repeated(n, uint16(3))
	case DBRChar:
		return repeated(n, byte('x'))
	case DBRLong:
		return repeated(n, int32(-123_456))
	}
	return repeated(n, 8.25)
}

func repeated[T any](n int, v T) []T {
	values := make([]T, n)
	for i := range values {
		values[i] = v
	}
	return values
}

// eachDecode calls f for each type and size, with room for the sample.
func eachDecode(t testing.TB, f func(name string, d DBR, count uint32, payload, room []byte)) {
	for native := DBRString; native <= DBRDouble; native++ {
		for _, n := range decodeSizes {
			payload, count := encodeTime(t, native.Time(), sampleValues(native, n))
			f(fmt.Sprintf("%v/%d", native.Time(), n), native.Time(), count, payload, make([]byte, 0, 2*len(payload)+n*8+100))
		}
	}
}

// TestDecodeTimeAllocatesNothing for any type and size, where there is room.
// Strings that are not ASCII are converted and may.
func TestDecodeTimeAllocatesNothing(t *testing.T) {
	eachDecode(t, func(name string, d DBR, count uint32, payload, room []byte) {
		allocs := testing.AllocsPerRun(3, func() {
			if _, _, err := DecodeTime(room, d, count, count > 1, payload); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	})
}

// BenchmarkDecodeTime is from the payload of an EVENT_ADD to an encoded sample.
func BenchmarkDecodeTime(b *testing.B) {
	eachDecode(b, func(name string, d DBR, count uint32, payload, room []byte) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := DecodeTime(room, d, count, count > 1, payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}
