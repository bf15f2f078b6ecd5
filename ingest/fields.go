package ingest

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"pvlog/ingest/caclient"
	"pvlog/schema"
)

const secondsPerDay = 24 * 60 * 60

// fieldSet is the archive fields of a PV that have channels of their own:
// those that its properties do not tell. Most PVs have none, and no fieldSet.
type fieldSet struct {
	// set by newFieldSet, read-only
	channel *Channel

	pending atomic.Bool // a monitor's value waits for a sample to ride on; changed under mu

	// owned by Channel.append, guarded by Channel.sampling
	day    int64 // UTC day of the newest sample that carried all values, -1: none did
	riding bool  // the sample that is being appended carries some
	all    int64 // day that will be carried with it

	// guarded by mu
	mu       sync.Mutex
	link     *caclient.Channel // the PV's, while it is subscribed
	monitors []*fieldMonitor   // by name
}

// told reports whether a field's values come with the PV's own properties.
func (e *Engine) told(field string) bool {
	return !e.opt.NoProperties && slices.Contains(propertyNames[:len(propertyNames)-1], field)
}

// monitored are the archive fields that need channels.
func (e *Engine) monitored(fields []string) []string {
	var names []string
	for _, f := range fields {
		if !e.told(f) {
			names = append(names, f)
		}
	}
	return names
}

// configureFields makes the monitors agree with the list of archive fields
// (S25): those of fields that left are ended and forgotten, new ones begin, and
// the others go on as they are. It is called with settling held.
func (c *Channel) configureFields(fields []string) {
	names := c.engine.monitored(fields)
	set := c.fields.Load()
	if set == nil {
		if len(names) == 0 {
			return
		}
		set = &fieldSet{channel: c, day: -1}
		c.fields.Store(set)
	}
	set.mu.Lock()
	defer set.mu.Unlock()
	set.keep(names)
	for _, name := range names {
		if i, there := set.find(name); !there {
			m := &fieldMonitor{set: set, name: name}
			set.monitors = slices.Insert(set.monitors, i, m)
			c.engine.fieldMonitors.Add(1)
			if set.link != nil {
				m.await(0)
			}
		}
	}
}

// keep ends the monitors of all fields but some. mu is held.
func (s *fieldSet) keep(names []string) {
	s.monitors = slices.DeleteFunc(s.monitors, func(m *fieldMonitor) bool {
		if slices.Contains(names, m.name) {
			return false
		}
		m.stop()
		m.set.channel.engine.fieldMonitors.Add(-1)
		return true
	})
}

// find is where a field's monitor stands or belongs. mu is held.
func (s *fieldSet) find(name string) (int, bool) {
	return slices.BinarySearchFunc(s.monitors, name, func(m *fieldMonitor, name string) int { return strings.Compare(m.name, name) })
}

// connectFields lets the monitors begin, when the PV's own subscription has
// been asked for.
func (c *Channel) connectFields(link *caclient.Channel) {
	set := c.fields.Load()
	if set == nil {
		return
	}
	set.mu.Lock()
	defer set.mu.Unlock()
	if set.link == link {
		return // it was only asked again
	}
	set.link = link
	for _, m := range set.monitors {
		m.await(0)
	}
}

// disconnectFields ends the monitors' channels with the PV's; what they have
// told stays.
func (c *Channel) disconnectFields() {
	set := c.fields.Load()
	if set == nil {
		return
	}
	set.mu.Lock()
	defer set.mu.Unlock()
	set.link = nil
	for _, m := range set.monitors {
		m.stop()
	}
}

// closeFields ends all monitors for good.
func (c *Channel) closeFields() {
	set := c.fields.Load()
	if set == nil {
		return
	}
	set.mu.Lock()
	defer set.mu.Unlock()
	set.link = nil
	set.keep(nil)
}

// ride adds to an event at a time the field values that wait for a sample, and
// all values of monitored fields to the first sample of a UTC day: the archive
// does not know them, so each file can only explain itself through its samples
// (D12). c.sampling is held.
func (c *Channel) ride(event []byte, at schema.Time) []byte {
	changed := len(c.properties.riding) > 0 // its flag, if any, is not to be overruled
	event = c.properties.ride(event)
	set := c.fields.Load()
	if set == nil {
		return event
	}
	day := at.Sec / secondsPerDay
	daily := day != set.day
	if !daily && !set.riding && !set.pending.Load() {
		return event
	}
	set.riding, set.all = true, day
	n := len(event)
	event, change := set.appendTo(event, daily)
	switch {
	case len(event) == n:
	case change:
		event = schema.AppendFieldsChanged(event, true)
	case daily && !changed:
		event = schema.AppendFieldsChanged(event, false)
	}
	return event
}

// appendTo adds the values that wait, or all, and tells whether one of them is
// a change since an earlier sample.
func (s *fieldSet) appendTo(event []byte, all bool) (_ []byte, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending.Store(false)
	for _, m := range s.monitors {
		if !m.known || !all && !m.pending && !m.riding {
			continue
		}
		event = schema.AppendField(event, m.name, m.value)
		changed = changed || m.changed && (m.pending || m.riding)
		m.riding = m.riding || m.pending
		m.pending = false
	}
	return event, changed
}

// rode notes that a sample carried them into the log. c.sampling is held.
func (c *Channel) rode() {
	c.properties.rode()
	set := c.fields.Load()
	if set == nil || !set.riding {
		return
	}
	set.riding, set.day = false, set.all
	set.mu.Lock()
	defer set.mu.Unlock()
	for _, m := range set.monitors {
		m.changed = m.changed && m.pending
		m.riding = false
	}
}

// Fields are the newest values of a PV's archive fields, by name (S24): those
// that have monitors as they were told last, those that come with the PV's
// properties as the registry has them. Empty if the PV has no channel or no
// such fields, or none has been told.
func (e *Engine) Fields(pv schema.PVName) []schema.FieldValue {
	e.mu.RLock()
	c := e.channels[pv]
	e.mu.RUnlock()
	if c == nil {
		return nil
	}
	var values []schema.FieldValue
	if set := c.fields.Load(); set != nil {
		set.mu.Lock()
		for _, m := range set.monitors {
			if m.known {
				values = append(values, schema.FieldValue{Name: m.name, Val: m.value})
			}
		}
		set.mu.Unlock()
	}
	if info, ok := e.opt.Known(pv); ok {
		for _, f := range info.KnownFields() {
			if e.told(f.Name) && slices.Contains(info.ArchiveFields, f.Name) {
				values = append(values, f)
			}
		}
	}
	slices.SortFunc(values, func(a, b schema.FieldValue) int { return strings.Compare(a.Name, b.Name) })
	return values
}
