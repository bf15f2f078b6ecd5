package simioc

import (
	"fmt"
	"slices"

	"pvlog/ingest/ca"
)

// Replace puts a record in the place of the one of its name: another type,
// count or value. Aliases and access rights stay, and so must the rate. All
// channels of the old record end with SERVER_DISCONN; clients find the new one
// when they come back.
func (ioc *IOC) Replace(def Record) error {
	old, err := ioc.record("replace", ioc.opts.Prefix+def.Name)
	if err != nil {
		return err
	}
	def.Aliases = old.def.Aliases
	if err := def.check(); err != nil {
		return fmt.Errorf("replace record %q: %w", old.name, err)
	}
	if def.Rate != old.def.Rate {
		return fmt.Errorf("replace record %q: its rate is %v Hz and cannot become %v", old.name, old.def.Rate, def.Rate)
	}
	r, err := newRecord(&def, old.name, nil)
	if err != nil {
		return fmt.Errorf("replace record %q: %w", old.name, err)
	}
	r.rights.Store(old.rights.Load())
	if !ioc.succeed(old, r) {
		return fmt.Errorf("replace record %q: it was replaced by another call meanwhile", old.name)
	}
	old.puts.stop()
	ioc.disconnect(old)
	return nil
}

// succeed puts r in the place of old, in the scan, too. False: old is no more.
func (ioc *IOC) succeed(old, r *record) bool {
	ioc.mu.Lock()
	defer ioc.mu.Unlock()
	at := slices.Index(ioc.records, old)
	if at < 0 {
		return false
	}
	ioc.records = slices.Clone(ioc.records) // the scan may read the old one
	ioc.records[at] = r
	for _, name := range append([]string{old.def.Name}, old.def.Aliases...) {
		ioc.names[ioc.opts.Prefix+name] = r
	}
	old.heir.Store(r)
	return true
}

// Properties are what a record says of itself and a test may change; nil
// leaves it as it is.
type Properties struct {
	Desc, Units *string
	Precision   *int
	Limits      *Limits
	Labels      []string
	MDEL, ADEL  *float64
}

// SetProperties changes what the record says of itself: subscriptions to
// PROPERTY get the new properties, those of its fields the new value.
func (ioc *IOC) SetProperties(name string, p Properties) error {
	r, err := ioc.record("set properties of", name)
	if err != nil {
		return err
	}
	main := r.main
	main.mu.Lock()
	meta := *main.cur.meta
	p.apply(&meta)
	checked := *r.def
	checked.Desc, checked.Units, checked.Labels, checked.States = meta.desc, meta.Units, meta.EnumStrings, nil
	if err := checked.check(); err != nil {
		main.mu.Unlock()
		return fmt.Errorf("set properties of %q: %w", name, err)
	}
	main.cur.meta = meta.onWire()
	var w wakes
	main.offer(ca.MaskProperty, &w)
	main.mu.Unlock()
	for _, field := range r.asked() {
		r.refresh(field, &w)
	}
	w.flush()
	return nil
}

// apply changes metadata.
func (p *Properties) apply(m *metadata) {
	set(&m.desc, p.Desc)
	set(&m.Units, p.Units)
	set(&m.Precision, p.Precision)
	set(&m.limits, p.Limits)
	set(&m.mdel, p.MDEL)
	set(&m.adel, p.ADEL)
	if p.Labels != nil {
		m.EnumStrings = p.Labels
	}
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// asked are the fields that some client asked for.
func (r *record) asked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for name := range r.fields {
		names = append(names, name)
	}
	return names
}
