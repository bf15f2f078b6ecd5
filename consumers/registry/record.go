package registry

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strconv"
	"time"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

const (
	encodingVersion = 2
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

// doubtful reports whether the encoding of a record could be beyond its bound (a
// byte takes six at most, a number fewer than 40), or none at all.
func (r record) doubtful() bool {
	n := 40 * (30 + 2*len(r.Generations))
	if c := r.Change; c != nil {
		n += 6 * (len(c.ID) + len(c.Command) + len(c.Actor) + len(c.Reason) + len(c.Source))
	}
	if i := r.Info; i != nil {
		if math.IsNaN(i.Deadband) || math.IsInf(i.Deadband, 0) {
			return true
		}
		n += 6 * (len(i.PV) + len(i.AliasOf) + len(i.SamplingMethod) + len(i.Policy) + len(i.ControllingPV) + len(i.AskedPolicy) +
			len(i.ChunkKey) + len(i.Host) + len(i.Units) + len(i.State))
		for _, list := range [][]string{i.Stores, i.ArchiveFields} {
			for _, s := range list {
				n += 6*len(s) + 3
			}
		}
		for name := range i.Limits {
			n += 6*len(name) + 40
		}
		for name, v := range i.Fields {
			n += 6*(len(name)+len(v)) + 6
		}
	}
	return n+1000 > maxRecordBytes
}

func (r record) generation() uint64 {
	if len(r.Generations) == 0 {
		return 0
	}
	return r.Generations[len(r.Generations)-1].Sequence
}

// storedRecord is a record in Badger: JSON, whose maps encoding/json sorts.
// Floats are text because JSON has no NaN, which IOCs do send as limits.
type storedRecord struct {
	Version     int          `json:"v"`
	Sequence    uint64       `json:"seq"`
	Requested   uint64       `json:"requested,omitempty"`
	Generations []Generation `json:"generations,omitempty"`
	Info        *storedInfo  `json:"info,omitempty"`
	Change      *Change      `json:"change,omitempty"`
	Flag        *bool        `json:"flag,omitempty"`
}

type storedInfo struct {
	State          schema.State          `json:"state"`
	AliasOf        schema.PVName         `json:"alias_of,omitempty"`
	DBRType        schema.DBRType        `json:"type"`
	ElementCount   int                   `json:"count,omitempty"`
	SamplingMethod schema.SamplingMethod `json:"method,omitempty"`
	SamplingPeriod time.Duration         `json:"period_ns,omitempty"`
	Policy         string                `json:"policy,omitempty"`
	ControllingPV  schema.PVName         `json:"controlling_pv,omitempty"`
	Stores         []string              `json:"stores,omitempty"`
	ArchiveFields  []string              `json:"archive_fields,omitempty"`
	Deadband       float64               `json:"deadband,omitempty"`
	DriftPast      time.Duration         `json:"drift_past_ns,omitempty"`
	DriftFuture    time.Duration         `json:"drift_future_ns,omitempty"`
	AskedSampling  bool                  `json:"asked_sampling,omitempty"`
	AskedPolicy    string                `json:"asked_policy,omitempty"`
	SkipAliasCheck bool                  `json:"skip_alias_check,omitempty"`
	ChunkKey       string                `json:"chunk_key,omitempty"`
	Host           string                `json:"host,omitempty"`
	Units          string                `json:"units,omitempty"`
	Precision      int                   `json:"precision,omitempty"`
	Limits         map[string]string     `json:"limits,omitempty"`
	Fields         map[string]string     `json:"fields,omitempty"`
	Created        int64                 `json:"created_ns"`
	Modified       int64                 `json:"modified_ns"`
	Expires        int64                 `json:"expires_ns,omitempty"`
	Generation     uint64                `json:"generation"`
	Sequence       uint64                `json:"seq"`
}

// encode gives the same bytes for the same record, always.
func (r record) encode() ([]byte, error) {
	s := storedRecord{
		Version: encodingVersion, Sequence: r.Sequence, Requested: r.Requested,
		Generations: r.Generations, Info: storeInfo(r.Info), Change: r.Change, Flag: r.Flag,
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	return b, nil
}

func decodeRecord(pv schema.PVName, b []byte) (record, error) {
	var s storedRecord
	if err := json.Unmarshal(b, &s); err != nil {
		return record{}, fmt.Errorf("decode record of %q: %w", pv, err)
	}
	if s.Version != encodingVersion {
		return record{}, fmt.Errorf("decode record of %q: version %d, not %d", pv, s.Version, encodingVersion)
	}
	info, err := loadInfo(pv, s.Info)
	if err != nil {
		return record{}, fmt.Errorf("decode record of %q: %w", pv, err)
	}
	return record{Sequence: s.Sequence, Requested: s.Requested, Generations: s.Generations, Info: info, Change: s.Change, Flag: s.Flag}, nil
}

func storeInfo(t *schema.TypeInfo) *storedInfo {
	if t == nil {
		return nil
	}
	s := &storedInfo{
		State: t.State, AliasOf: t.AliasOf, DBRType: t.DBRType, ElementCount: t.ElementCount,
		SamplingMethod: t.SamplingMethod, SamplingPeriod: t.SamplingPeriod,
		Policy: t.Policy, ControllingPV: t.ControllingPV, Stores: t.Stores, ChunkKey: t.ChunkKey,
		ArchiveFields: t.ArchiveFields, Deadband: t.Deadband, DriftPast: t.DriftPast, DriftFuture: t.DriftFuture,
		AskedSampling: t.AskedSampling, AskedPolicy: t.AskedPolicy, SkipAliasCheck: t.SkipAliasCheck,
		Host: t.Host, Units: t.Units, Precision: t.Precision, Fields: t.Fields,
		Created: t.Created.UnixNano(), Modified: t.Modified.UnixNano(),
		Generation: t.Generation, Sequence: t.Sequence,
	}
	if !t.Expires.IsZero() {
		s.Expires = t.Expires.UnixNano()
	}
	if len(t.Limits) > 0 {
		s.Limits = make(map[string]string, len(t.Limits))
	}
	for name, v := range t.Limits {
		s.Limits[name] = strconv.FormatFloat(v, 'g', -1, 64)
	}
	return s
}

func loadInfo(pv schema.PVName, s *storedInfo) (*schema.TypeInfo, error) {
	if s == nil {
		return nil, nil
	}
	t := &schema.TypeInfo{
		PV: pv, State: s.State, AliasOf: s.AliasOf, DBRType: s.DBRType, ElementCount: s.ElementCount,
		Settings: schema.Settings{
			SamplingMethod: s.SamplingMethod, SamplingPeriod: s.SamplingPeriod,
			Policy: s.Policy, ControllingPV: s.ControllingPV, Stores: s.Stores,
			ArchiveFields: s.ArchiveFields, Deadband: s.Deadband, DriftPast: s.DriftPast, DriftFuture: s.DriftFuture,
		},
		AskedSampling: s.AskedSampling, AskedPolicy: s.AskedPolicy, SkipAliasCheck: s.SkipAliasCheck, ChunkKey: s.ChunkKey,
		Host: s.Host, Units: s.Units, Precision: s.Precision, Fields: s.Fields,
		Created: time.Unix(0, s.Created).UTC(), Modified: time.Unix(0, s.Modified).UTC(),
		Generation: s.Generation, Sequence: s.Sequence,
	}
	if s.Expires != 0 {
		t.Expires = time.Unix(0, s.Expires).UTC()
	}
	if len(s.Limits) > 0 {
		t.Limits = make(map[string]float64, len(s.Limits))
	}
	for name, text := range s.Limits {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("limit %s: %w", name, err)
		}
		t.Limits[name] = v
	}
	return t, nil
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
		return meta{}, fmt.Errorf("decode cursor: version %d, not %d", m.Version, encodingVersion)
	}
	return m, nil
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
