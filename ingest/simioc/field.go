package simioc

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pvlog/ingest/ca"
)

// record is a Record in service.
type record struct {
	def  *Record
	name string // with prefix
	main *variable
	n    uint64 // processings so far; owned by Run, then by the scanning goroutine

	complained bool // as n

	rights atomic.Uint32          // what clients may do, as access security says
	heir   atomic.Pointer[record] // what took its place, see IOC.Replace

	puts putQueue

	// guarded by mu
	mu     sync.Mutex
	fields map[string]*variable // those that some client asked for
}

// field is a field of records other than VAL. A long field ("$") is a string
// as CHAR array.
type field struct {
	name   string
	native ca.DBR                           // of a limit, LONG where the record is an integer
	size   int                              // of a long field: characters and NUL
	of     func(def *Record) bool           // which records have it
	get    func(r *record, m *metadata) any // string, int16, uint16 or float64
	set    func(m *metadata, x any)         // nil = not writable
	check  func(x any) error                // refuses a put
	labels []string                         // of an enum
	limit  bool                             // in the record's units
}

func anyRecord(*Record) bool     { return true }
func numericOnly(d *Record) bool { return d.numeric() }
func scalarOnly(d *Record) bool  { return d.numeric() && d.elements() == 1 }
func arrayOnly(d *Record) bool   { return d.elements() > 1 }
func floatOnly(d *Record) bool   { return d.Type == ca.DBRDouble || d.Type == ca.DBRFloat }

var (
	scanLabels = []string{"Passive", "Event", "I/O Intr", "10 second", "5 second", "2 second", "1 second", ".5 second", ".2 second", ".1 second"}
	ftvlLabels = []string{"STRING", "CHAR", "UCHAR", "SHORT", "USHORT", "LONG", "ULONG", "INT64", "UINT64", "FLOAT", "DOUBLE", "ENUM"}
	ftvlOf     = [7]uint16{0, 3, 9, 11, 2, 5, 10} // by native type
)

// fields are all fields that records have here, by name.
var fields = fieldTable(
	&field{name: "NAME", native: ca.DBRString, size: 61, of: anyRecord, get: func(r *record, _ *metadata) any { return r.name }},
	&field{name: "RTYP", native: ca.DBRString, of: anyRecord, get: func(_ *record, m *metadata) any { return m.class }},
	&field{name: "DESC", native: ca.DBRString, size: maxDescBytes + 1, of: anyRecord,
		get: func(_ *record, m *metadata) any { return m.desc }, set: func(m *metadata, x any) { m.desc = x.(string) }},
	&field{name: "EGU", native: ca.DBRString, size: maxUnitsBytes + 1, of: numericOnly,
		get: func(_ *record, m *metadata) any { return m.Units }, set: func(m *metadata, x any) { m.Units = x.(string) },
		check: func(x any) error { return atMost(x.(string), maxUnitsBytes) }},
	&field{name: "PREC", native: ca.DBRShort, of: floatOnly,
		get: func(_ *record, m *metadata) any { return int16(m.Precision) }, set: func(m *metadata, x any) { m.Precision = int(x.(int16)) }},
	&field{name: "SCAN", native: ca.DBREnum, of: anyRecord, labels: scanLabels, get: func(r *record, _ *metadata) any { return scanOf(r.def.Rate) }},
	&field{name: "NELM", native: ca.DBRDouble, of: arrayOnly, get: func(r *record, _ *metadata) any { return float64(r.def.elements()) }},
	&field{name: "FTVL", native: ca.DBREnum, of: arrayOnly, labels: ftvlLabels, get: func(r *record, _ *metadata) any { return ftvlOf[r.def.Type] }},
	limitField("HOPR", numericOnly, func(m *metadata) *float64 { return &m.limits.HOPR }),
	limitField("LOPR", numericOnly, func(m *metadata) *float64 { return &m.limits.LOPR }),
	limitField("HIHI", scalarOnly, func(m *metadata) *float64 { return &m.limits.HIHI }),
	limitField("HIGH", scalarOnly, func(m *metadata) *float64 { return &m.limits.HIGH }),
	limitField("LOW", scalarOnly, func(m *metadata) *float64 { return &m.limits.LOW }),
	limitField("LOLO", scalarOnly, func(m *metadata) *float64 { return &m.limits.LOLO }),
	limitField("MDEL", scalarOnly, func(m *metadata) *float64 { return &m.mdel }),
	limitField("ADEL", scalarOnly, func(m *metadata) *float64 { return &m.adel }),
)

func fieldTable(all ...*field) map[string]*field {
	table := make(map[string]*field, len(all))
	for _, f := range all {
		table[f.name] = f
	}
	return table
}

// limitField is a number that is of the record's kind.
func limitField(name string, of func(*Record) bool, at func(*metadata) *float64) *field {
	return &field{name: name, native: ca.DBRDouble, of: of, limit: true,
		get: func(_ *record, m *metadata) any { return *at(m) },
		set: func(m *metadata, x any) { *at(m) = x.(float64) }}
}

func atMost(s string, n int) error {
	if len(s) > n {
		return fmt.Errorf("%w: %q has more than %d bytes", errConvert, s, n)
	}
	return nil
}

// scanOf is the choice of .SCAN that a rate comes closest to; 0 is Passive.
func scanOf(rate float64) uint16 {
	if rate == 0 {
		return 0
	}
	best, distance := uint16(0), math.Inf(1)
	for i, hz := range []float64{0.1, 0.2, 0.5, 1, 2, 5, 10} {
		if d := math.Abs(math.Log(rate / hz)); d < distance {
			best, distance = uint16(3+i), d
		}
	}
	return best
}

// newRecord puts a checked Record into service under its full name. shared is
// the metadata of another record, which this one takes if it is the same: a
// hundred thousand load records have one between them.
func newRecord(def *Record, name string, shared *metadata) (*record, error) {
	r := &record{def: def, name: name}
	v := value{n: 1}
	if def.elements() > 1 {
		v.n = 0
	} else if def.Type == ca.DBRString {
		v.data = make([]byte, ca.MaxStringSize)
	}
	r.main = &variable{name: name, native: def.Type, max: def.elements(), writable: !def.ReadOnly, record: r, clock: def.Clock}
	r.main.cur = snapshot{value: v, native: def.Type, max: def.elements(), severity: severityInvalid, status: statusUDF, ackt: true, meta: def.metadata(shared)}
	r.main.cur.time.Sec = epoch
	r.rights.Store(ca.AccessRead | ca.AccessWrite)
	if def.Value == nil {
		return r, nil
	}
	first, err := encodeValue(def.Type, def.elements(), def.Value)
	if err != nil {
		return nil, fmt.Errorf("first value: %w", err)
	}
	r.main.post(&posting{value: first, clock: time.Now().UnixNano()}, nil)
	return r, nil
}

// metadata is what the record says of itself at first.
func (r *Record) metadata(shared *metadata) *metadata {
	m := metadata{class: r.recordType(), desc: r.Desc, limits: r.Limits, states: r.States, mdel: r.MDEL, adel: r.ADEL}
	m.Units, m.Precision, m.EnumStrings = r.Units, r.Precision, r.Labels
	if shared != nil && m.class == shared.class && m.desc == shared.desc && m.limits == shared.limits && m.mdel == shared.mdel &&
		m.adel == shared.adel && m.Units == shared.Units && m.Precision == shared.Precision && slices.Equal(m.EnumStrings, shared.EnumStrings) && slices.Equal(m.states, shared.states) {
		return shared
	}
	return m.onWire()
}

// onWire gives a copy whose limits are also in the form that ca encodes. Alarm
// limits not in force are NaN for floats and 0 for integers, as from base 7.
func (m metadata) onWire() *metadata {
	l, off := m.limits, math.Float64frombits(quietNaN)
	m.Limits = map[string]float64{"HOPR": l.HOPR, "LOPR": l.LOPR, "DRVH": l.HOPR, "DRVL": l.LOPR,
		"HIHI": l.HIHI, "HIGH": l.HIGH, "LOW": l.LOW, "LOLO": l.LOLO}
	m.integers = m.Metadata
	if !l.Alarm {
		m.integers.Limits = map[string]float64{"HOPR": l.HOPR, "LOPR": l.LOPR, "DRVH": l.HOPR, "DRVL": l.LOPR}
		for _, name := range []string{"HIHI", "HIGH", "LOW", "LOLO"} {
			m.Limits[name] = off
		}
	}
	return &m
}

// quietNaN is C's NaN; Go's has another bit set.
const quietNaN = 0x7FF8 << 48

// channel finds what a client may connect to behind the record's dot: "" and
// VAL are the value, "$" after a string makes it a CHAR array. nil: no such
// field.
func (r *record) channel(name string) *variable {
	if name == "" || name == "VAL" {
		return r.main
	}
	base, long := strings.CutSuffix(name, "$")
	f := fields[base]
	if base == "" || base == "VAL" {
		f = &field{name: "VAL", native: r.def.Type, size: ca.MaxStringSize, of: anyRecord, get: currentText, set: func(*metadata, any) {}}
		long = long && r.def.elements() == 1
	}
	switch {
	case f == nil || !f.of(r.def):
		return nil
	case long && (f.native != ca.DBRString || f.size == 0):
		return nil
	case !long && f.name == "VAL":
		return nil
	}
	return r.fieldVariable(f, long)
}

// currentText is the value of a string record.
func currentText(r *record, _ *metadata) any {
	s := r.main.snapshot()
	return cString(s.value.bytes(ca.MaxStringSize))
}

func (r *record) fieldVariable(f *field, long bool) *variable {
	name := f.name
	if long {
		name += "$"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if v := r.fields[name]; v != nil {
		return v
	}
	v := &variable{name: r.name + "." + name, native: f.native, max: 1, writable: f.set != nil && (f.name != "VAL" || !r.def.ReadOnly), record: r, field: f}
	if f.limit && !floatOnly(r.def) {
		v.native = ca.DBRLong
	}
	if long {
		v.native, v.max = ca.DBRChar, f.size
	}
	state := r.main.snapshot()
	v.cur = snapshot{native: v.native, max: v.max, ackt: true, meta: f.metadata(*state.meta), value: r.fieldValue(v, state.meta)}
	if r.fields == nil {
		r.fields = make(map[string]*variable)
	}
	r.fields[name] = v
	return v
}

// metadata is what GR and CTRL types say of the field itself.
func (f *field) metadata(m metadata) *metadata {
	m.EnumStrings = f.labels
	m.limits.Alarm = false
	if !f.limit {
		m.Units, m.Precision, m.limits = "", 0, Limits{}
	}
	return m.onWire()
}

// fieldValue is what a field says now. Strings longer than the variable are
// cut, as a real IOC does.
func (r *record) fieldValue(v *variable, m *metadata) value {
	x := v.field.get(r, m)
	if f, ok := x.(float64); ok {
		b := appendNumber(nil, v.native, number{f: f, float: true})
		return wireValue(v.native, v.max, 1, b)
	}
	if s, ok := x.(string); ok {
		limit := ca.MaxStringSize - 1
		if v.native == ca.DBRChar {
			limit = v.max - 1
		}
		x = s[:min(len(s), limit)]
	}
	b, n, err := appendElements(nil, v.native, x)
	if err != nil {
		panic(fmt.Sprintf("simioc: field %s: %v", v.name, err)) // the table above is wrong
	}
	return wireValue(v.native, v.max, n, b)
}
