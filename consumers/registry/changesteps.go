package registry

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// Bounds of what a change's own events hold. An event may have nearly 8 MiB.
const (
	maxPartBytes  = 6 << 20   // of the steps in one opening event, packed
	maxSteps      = 4_000_000 // of one change
	maxPlainBytes = 512 << 20 // of one part, unpacked: more is no part
)

// table lists different messages and gives each its index.
type table struct {
	index map[string]uint32
	add   func(proto.Message)
}

func newTable[M proto.Message](list *[]M) table {
	return table{map[string]uint32{}, func(m proto.Message) { *list = append(*list, m.(M)) }}
}

func (t table) of(m proto.Message) (uint32, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return 0, fmt.Errorf("encode steps: %w", err)
	}
	i, known := t.index[string(b)]
	if !known {
		i = uint32(len(t.index))
		t.index[string(b)] = i
		t.add(m)
	}
	return i, nil
}

// stepsMessage is the form in which items stand in the log.
func stepsMessage(o order, items []item, refused []Result) (*logpb.ChangeSteps, error) {
	m := &logpb.ChangeSteps{Data: o.data, Override: o.override, Undone: o.undone, Later: uint32(o.later), Refused: failures(refused)}
	requests, settings := newTable(&m.Requests), newTable(&m.Settings)
	for _, it := range items {
		m.Pvs = append(m.Pvs, string(it.pv))
		var err error
		switch o.command {
		case commandArchive:
			err = appendIndex(&m.Request, requests, it.request)
		case commandChange:
			if err = appendIndex(&m.From, settings, it.from); err == nil {
				err = appendIndex(&m.To, settings, it.to)
			}
			m.Skip, m.Expect = append(m.Skip, uint32(it.skip)), append(m.Expect, it.expect)
		case commandDefine:
			m.Definitions = append(m.Definitions, it.definition)
		case commandAlias, commandUnalias:
			m.Targets = append(m.Targets, string(it.target))
		case commandUndo:
			m.Undoes = append(m.Undoes, it.undoes)
		}
		if err != nil {
			return nil, err
		}
	}
	return m, nil
}

func appendIndex(list *[]uint32, t table, m proto.Message) error {
	i, err := t.of(m)
	*list = append(*list, i)
	return err
}

// itemsOf reads what stepsMessage wrote.
func itemsOf(command string, m *logpb.ChangeSteps) ([]item, error) {
	items := make([]item, len(m.GetPvs()))
	for i, pv := range m.GetPvs() {
		it := item{pv: schema.PVName(pv)}
		ok := true
		switch command {
		case commandArchive:
			it.request, ok = indexed32(m.GetRequests(), m.GetRequest(), i)
		case commandChange:
			if it.from, ok = indexed32(m.GetSettings(), m.GetFrom(), i); ok {
				it.to, ok = indexed32(m.GetSettings(), m.GetTo(), i)
			}
			skip, _ := at(m.GetSkip(), i)
			it.skip = skipping(skip)
			it.expect, _ = at(m.GetExpect(), i)
		case commandDefine:
			it.definition, ok = at(m.GetDefinitions(), i)
		case commandAlias, commandUnalias:
			var target string
			target, ok = at(m.GetTargets(), i)
			it.target = schema.PVName(target)
		case commandUndo:
			it.undoes, ok = at(m.GetUndoes(), i)
		}
		if !ok {
			return nil, fmt.Errorf("step %d of %d, PV %s: what is to be done is missing", i, len(items), pv)
		}
		items[i] = it
	}
	return items, nil
}

func at[V any](list []V, i int) (v V, ok bool) {
	if i >= len(list) {
		return v, false
	}
	return list[i], true
}

func indexed32[V any](list []V, indices []uint32, i int) (v V, ok bool) {
	k, ok := at(indices, i)
	if !ok {
		return v, false
	}
	return at(list, int(k))
}

// packSteps gives the opening events' steps: one part, or as many as keep each
// below its bound.
func packSteps(o order, items []item, refused []Result) ([][]byte, error) {
	m, err := stepsMessage(o, items, refused)
	if err != nil {
		return nil, err
	}
	b, err := pack(m)
	if err != nil || len(b) <= maxPartBytes {
		return [][]byte{b}, err
	}
	if len(items) < 2 || len(refused) > len(items) {
		return nil, schema.Errorf(schema.Invalid, "what is to be done to %d PVs does not fit into the log: ask for fewer at once", len(items)+len(refused))
	}
	half := len(items) / 2
	first, err := packSteps(o, items[:half], refused)
	if err != nil {
		return nil, err
	}
	second, err := packSteps(o, items[half:], nil)
	return append(first, second...), err
}

func pack(m proto.Message) ([]byte, error) {
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func unpack(packed []byte, m proto.Message) error {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(r, maxPlainBytes))
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	if err := proto.Unmarshal(b, m); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	return nil
}

// placeholder stands for a PV's name in a message that many PVs share.
const placeholder = "{pv}"

// codeAlready marks a Conflict with ErrAlready.
const codeAlready = "already"

// failures is the form in which refusals stand in the log; nil for none.
func failures(results []Result) *logpb.ChangeFailures {
	m := &logpb.ChangeFailures{}
	index := map[string]uint32{}
	for _, res := range results {
		if res.Err == nil {
			continue
		}
		code, words := codeText(res.Err), strings.ReplaceAll(text(res.Err.Error()), string(res.PV), placeholder)
		i, known := index[code+words]
		if !known {
			i = uint32(len(index))
			index[code+words] = i
			m.Messages, m.Codes = append(m.Messages, words), append(m.Codes, code)
		}
		m.Pvs, m.Message = append(m.Pvs, string(res.PV)), append(m.Message, i)
	}
	if len(m.Pvs) == 0 {
		return nil
	}
	return m
}

func codeText(err error) string {
	if outcome(err, false) == "unchanged" {
		return codeAlready
	}
	return string(schema.CodeOf(err))
}

// failureErrors reads what failures wrote.
func failureErrors(m *logpb.ChangeFailures) map[schema.PVName]error {
	errs := map[schema.PVName]error{}
	for i, pv := range m.GetPvs() {
		words, ok := indexed32(m.GetMessages(), m.GetMessage(), i)
		code, coded := indexed32(m.GetCodes(), m.GetMessage(), i)
		if !ok || !coded {
			continue
		}
		words = strings.ReplaceAll(words, placeholder, pv)
		if code == codeAlready {
			errs[schema.PVName(pv)] = already("%s", words)
			continue
		}
		errs[schema.PVName(pv)] = schema.Errorf(schema.Code(code), "%s", words)
	}
	return errs
}

// packFailures leaves refusals away that do not fit; their number stands in the
// closing event.
func packFailures(results []Result) ([]byte, error) {
	for {
		m := failures(results)
		if m == nil {
			return nil, nil
		}
		b, err := pack(m)
		if err != nil || len(b) <= maxPartBytes {
			return b, err
		}
		results = results[:len(results)/2]
	}
}

// errorsOf turns refusals by PV into results, in the order of the names.
func errorsOf(errs map[schema.PVName]error) []Result {
	var results []Result
	for _, pv := range slices.Sorted(maps.Keys(errs)) {
		results = append(results, Result{PV: pv, Err: errs[pv]})
	}
	return results
}
