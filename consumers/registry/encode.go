package registry

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"pvlog/schema"
)

// A record in Badger is a byte, encodingVersion, and a protobuf message, written
// and read by hand: it has to be the same bytes for the same record whatever
// library is used, and a start reads a hundred thousand. Fields stand in the
// order of their numbers, maps in that of their keys, and zero values are left
// out. A field that is added needs no new version if it is zero in what all
// events before it add up to.
const (
	recordSequence   protowire.Number = 1
	recordRequested  protowire.Number = 2
	recordGeneration protowire.Number = 3 // message: sequence 1, type 2 (zigzag); repeated
	recordInfo       protowire.Number = 4 // message
	recordChange     protowire.Number = 5 // JSON
	recordFlag       protowire.Number = 6 // 1: false, 2: true
)

// Fields of recordInfo. Durations and instants are nanoseconds.
const (
	infoState          protowire.Number = 1
	infoAliasOf        protowire.Number = 2
	infoType           protowire.Number = 3 // zigzag, never left out
	infoCount          protowire.Number = 4
	infoMethod         protowire.Number = 5
	infoPeriod         protowire.Number = 6
	infoPolicy         protowire.Number = 7
	infoControllingPV  protowire.Number = 8
	infoStore          protowire.Number = 9  // repeated
	infoArchiveField   protowire.Number = 10 // repeated
	infoDeadband       protowire.Number = 11 // fixed64: bits of the float
	infoDriftPast      protowire.Number = 12
	infoDriftFuture    protowire.Number = 13
	infoAskedSampling  protowire.Number = 14
	infoAskedPolicy    protowire.Number = 15
	infoSkipAliasCheck protowire.Number = 16
	infoChunkKey       protowire.Number = 17
	infoHost           protowire.Number = 18
	infoUnits          protowire.Number = 19
	infoPrecision      protowire.Number = 20
	infoLimit          protowire.Number = 21 // message: name 1, bits of the float 2 (fixed64); repeated
	infoField          protowire.Number = 22 // message: name 1, value 2; repeated
	infoCreated        protowire.Number = 23 // fixed64
	infoModified       protowire.Number = 24 // fixed64
	infoExpires        protowire.Number = 25 // fixed64
	infoGeneration     protowire.Number = 26
	infoSequence       protowire.Number = 27
	infoRateEvents     protowire.Number = 28
	infoRateBytes      protowire.Number = 29
)

// encode gives the same bytes for the same record, always.
func (r record) encode() ([]byte, error) {
	b := append(make([]byte, 0, 512), encodingVersion)
	b = appendNumber(b, recordSequence, r.Sequence)
	b = appendNumber(b, recordRequested, r.Requested)
	for _, g := range r.Generations {
		b = appendMessage(b, recordGeneration, func(b []byte) []byte {
			b = appendNumber(b, 1, g.Sequence)
			return appendNumber(b, 2, protowire.EncodeZigZag(int64(g.Type)))
		})
	}
	if r.Info != nil {
		b = appendMessage(b, recordInfo, func(b []byte) []byte { return appendInfo(b, r.Info) })
	}
	if r.Change != nil {
		text, err := json.Marshal(r.Change)
		if err != nil {
			return nil, fmt.Errorf("encode record: %w", err)
		}
		b = appendText(b, recordChange, string(text))
	}
	if r.Flag != nil {
		b = appendNumber(b, recordFlag, 1+number(*r.Flag))
	}
	return b, nil
}

func appendInfo(b []byte, t *schema.TypeInfo) []byte {
	b = appendText(b, infoState, t.State)
	b = appendText(b, infoAliasOf, t.AliasOf)
	b = protowire.AppendTag(b, infoType, protowire.VarintType)
	b = protowire.AppendVarint(b, protowire.EncodeZigZag(int64(t.DBRType)))
	b = appendNumber(b, infoCount, uint64(t.ElementCount))
	b = appendSettings(b, t.Settings)
	b = appendNumber(b, infoAskedSampling, number(t.AskedSampling))
	b = appendText(b, infoAskedPolicy, t.AskedPolicy)
	b = appendNumber(b, infoSkipAliasCheck, number(t.SkipAliasCheck))
	b = appendText(b, infoChunkKey, t.ChunkKey)
	b = appendText(b, infoHost, t.Host)
	b = appendText(b, infoUnits, t.Units)
	b = appendNumber(b, infoPrecision, protowire.EncodeZigZag(int64(t.Precision)))
	b = appendEntries(b, infoLimit, t.Limits, func(b []byte, v float64) []byte {
		return appendFixed(b, 2, math.Float64bits(v))
	})
	b = appendEntries(b, infoField, t.Fields, func(b []byte, v string) []byte { return appendText(b, 2, v) })
	b = appendFixed(b, infoCreated, uint64(t.Created.UnixNano()))
	b = appendFixed(b, infoModified, uint64(t.Modified.UnixNano()))
	b = appendTime(b, infoExpires, t.Expires)
	b = appendNumber(b, infoGeneration, t.Generation)
	return appendNumber(b, infoSequence, t.Sequence)
}

func appendSettings(b []byte, s schema.Settings) []byte {
	b = appendText(b, infoMethod, s.SamplingMethod)
	b = appendNumber(b, infoPeriod, uint64(s.SamplingPeriod))
	b = appendText(b, infoPolicy, s.Policy)
	b = appendText(b, infoControllingPV, s.ControllingPV)
	for _, store := range s.Stores {
		b = protowire.AppendString(protowire.AppendTag(b, infoStore, protowire.BytesType), store)
	}
	for _, field := range s.ArchiveFields {
		b = protowire.AppendString(protowire.AppendTag(b, infoArchiveField, protowire.BytesType), field)
	}
	b = appendFixed(b, infoDeadband, math.Float64bits(s.Deadband))
	b = appendNumber(b, infoDriftPast, uint64(s.DriftPast))
	b = appendNumber(b, infoDriftFuture, uint64(s.DriftFuture))
	b = appendNumber(b, infoRateEvents, uint64(s.RateEvents))
	return appendNumber(b, infoRateBytes, s.RateBytes)
}

func appendNumber(b []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func appendFixed(b []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), v)
}

func appendText[S ~string](b []byte, field protowire.Number, s S) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), string(s))
}

// appendTime leaves the zero time out.
func appendTime(b []byte, field protowire.Number, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	return appendFixed(b, field, uint64(t.UnixNano()))
}

// appendMessage adds a message of less than 128 MiB: room for its length is left
// and closed up when it is known.
func appendMessage(b []byte, field protowire.Number, content func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	start := len(b)
	b = content(append(b, 0, 0, 0, 0))
	size := protowire.AppendVarint(b[start:start], uint64(len(b)-start-4))
	return b[:start+len(size)+copy(b[start+len(size):], b[start+4:])]
}

// appendEntries adds a map, one message for each entry.
func appendEntries[V any](b []byte, field protowire.Number, entries map[string]V, value func([]byte, V) []byte) []byte {
	if len(entries) == 0 {
		return b
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		b = appendMessage(b, field, func(b []byte) []byte { return value(appendText(b, 1, name), entries[name]) })
	}
	return b
}

func number(yes bool) uint64 {
	if yes {
		return 1
	}
	return 0
}
