package registry

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"slices"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

const (
	encodingVersion = 3
	maxRecordBytes  = 64 << 10 // of one PV, encoded; a transaction of Badger holds many
	maxGenerations  = 64       // of one PV, the newest are kept; the log has all
)

// Generation is one life of a PV's samples: it begins when the PV is
// requested or gets its type, and samples of an older one are never written
// into files of a newer one.
type Generation struct {
	Sequence uint64         `json:"seq"`  // registry sequence that began it
	Type     schema.DBRType `json:"type"` // UnknownType until the PV connected
}

// record is what the events on one PV's subject add up to. It outlives the
// PV's deletion: the next event must name Sequence as the subject's last.
type record struct {
	Sequence    uint64           // of the newest event on the subject
	Requested   uint64           // of the newest PVRequested
	Info        *schema.TypeInfo // nil: never requested or deleted; never changed in place
	Generations []Generation     // oldest first
	Change      *Change          // of a name that stands for a command on many PVs
	Flag        *bool            // of a name that stands for a named flag
}

// step is the pure state function of one subject.
func (r record) step(seq uint64, e *logpb.RegistryEvent) record {
	if schema.PVName(e.GetPv()).Beside() {
		return r.stepBeside(seq, e)
	}
	next := record{Sequence: seq, Requested: r.Requested, Generations: r.Generations}
	next.Info = schema.Apply(r.Info, seq, e)
	if e.GetRequested() != nil || e.GetDefined() != nil {
		next.Requested = seq
	}
	if i := next.Info; i != nil && i.State != schema.Alias && i.Generation != r.generation() {
		next.Generations = append(slices.Clone(r.Generations), Generation{i.Generation, i.DBRType})
		next.Generations = next.Generations[max(0, len(next.Generations)-maxGenerations):]
	}
	return next
}

// skip is step for an event that cannot be kept: only the sequence moves.
func (r record) skip(seq uint64) record {
	r.Sequence = seq
	return r
}

// problem is why a record cannot be kept; "" for all that pvlog writes.
func (r record) problem() string {
	if i := r.Info; i != nil && (math.IsNaN(i.Deadband) || math.IsInf(i.Deadband, 0)) {
		return fmt.Sprintf("its deadband would be %v", i.Deadband)
	}
	if r.mostBytes() <= maxRecordBytes {
		return ""
	}
	value, err := r.encode()
	switch {
	case err != nil:
		return err.Error()
	case len(value) > maxRecordBytes:
		return fmt.Sprintf("its result would take %d bytes, %d are allowed", len(value), maxRecordBytes)
	}
	return ""
}

// mostBytes is a bound of the length of a record's encoding, which takes no
// encoding to find: numbers and heads of fields have at most 12 bytes.
func (r record) mostBytes() int {
	n := 12 * (40 + 3*len(r.Generations))
	if c := r.Change; c != nil { // JSON: a byte takes six at most
		n += 400 + 6*(len(c.ID)+len(c.Command)+len(c.Actor)+len(c.Reason)+len(c.Source))
	}
	i := r.Info
	if i == nil {
		return n
	}
	n += len(i.AliasOf) + len(i.SamplingMethod) + len(i.Policy) + len(i.ControllingPV) + len(i.AskedPolicy) +
		len(i.ChunkKey) + len(i.Host) + len(i.Units) + len(i.State)
	for _, list := range [][]string{i.Stores, i.ArchiveFields} {
		for _, s := range list {
			n += len(s) + 12
		}
	}
	for name := range i.Limits {
		n += len(name) + 3*12
	}
	for name, v := range i.Fields {
		n += len(name) + len(v) + 3*12
	}
	return n
}

func (r record) generation() uint64 {
	if len(r.Generations) == 0 {
		return 0
	}
	return r.Generations[len(r.Generations)-1].Sequence
}

// meta stands beside the records, written in the same transaction. Records and
// Sum let a start notice that Badger has lost or mixed something: it skips a
// damaged table with a line in its log and goes on without.
type meta struct {
	Version int    `json:"v"`
	Cursor  uint64 `json:"cursor"`  // sequence of the newest applied event
	Event   uint64 `json:"event"`   // fingerprint of that event: another log is not taken for this one
	Records int    `json:"records"` // how many PV records there are
	Sum     uint64 `json:"sum"`     // of the hashes of all records
}

func decodeMeta(b []byte) (meta, error) {
	var m meta
	if err := json.Unmarshal(b, &m); err != nil {
		return meta{}, fmt.Errorf("decode cursor: %w", err)
	}
	if m.Version != encodingVersion {
		return meta{}, fmt.Errorf("decode cursor: %w", otherFormat(m.Version))
	}
	return m, nil
}

func otherFormat(version int) error {
	return fmt.Errorf("another version of pvlog wrote it: its format is %d, not %d", version, encodingVersion)
}

func hashRecord(pv schema.PVName, value []byte) uint64 {
	h := fnv.New64a()
	h.Write([]byte(pv))
	h.Write([]byte{0})
	h.Write(value)
	return h.Sum64()
}

// fingerprint tells two events of one sequence in different logs apart.
func fingerprint(e *logpb.RegistryEvent) uint64 {
	h := fnv.New64a()
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(e.GetTime())))
	h.Write([]byte(e.GetPv() + "\x00" + e.GetActor() + "\x00" + e.GetChangeId()))
	return h.Sum64()
}
