package ingest

import (
	"maps"
	"strconv"
	"strings"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

// discoveryWait is how long an IOC may take to tell a PV's metadata, which is
// optional, and the registry to confirm what was found (S33).
const discoveryWait = 5 * time.Second

// hangupsMax is how often a connection may break while metadata is asked for.
// Then it is the question that the server cannot stand.
const hangupsMax = 2

// discovery is the first look at a PV whose type is not registered. It belongs
// to one connection: when that ends or the type is registered, it is forgotten.
type discovery struct {
	channel *Channel // set by newDiscovery
	refresh bool     // of a PV whose type is registered: its properties alone

	// guarded by discoveries.mu
	listed bool // stands among those to be reported
	round  int  // how often it began to wait

	// guarded by channel.mu
	found  Discovery
	open   int  // questions without an answer
	broken bool // a question failed with the connection, or as if it had
	news   int  // of a refresh: how often something was added
	sent   int  // news that the registry was given
}

func newDiscovery(c *Channel, info caclient.Info) *discovery {
	return &discovery{channel: c, found: Discovery{
		PV:    c.pv,
		Type:  ca.SampleType(info.Native, info.Count != 1),
		Count: int(info.Count),
		Host:  info.Addr,
	}}
}

// current reports whether the discovery is still wanted, and what is known.
func (d *discovery) current() (Discovery, bool) {
	c := d.channel
	c.mu.Lock()
	defer c.mu.Unlock()
	d.sent = d.news
	found := d.found
	found.Fields = maps.Clone(found.Fields) // a late answer adds to them while the registry reads
	return found, (c.discovery == d || c.refresh == d) && !c.closed.Load()
}

// begin asks the IOC for units, limits and record type with one value, and for
// what else a policy may want to know, or nothing at all if it hung up on that
// before.
func (q *discoveries) begin(d *discovery, ch *caclient.Channel, info caclient.Info, now time.Time, bare bool) {
	if bare {
		q.handIn(d)
		return
	}
	c := d.channel
	fields := discoveryFields
	if c.pv.Field() != "" {
		fields = nil // they would be the record's, not the PV's
	}
	named := !c.settings.Load().skipAliasCheck
	c.mu.Lock()
	d.open = 2 + len(fields)
	if named {
		d.open++
	}
	c.mu.Unlock()
	q.await(d, now)
	ch.GetAsync(info.Native.Ctrl(), 1, func(u caclient.Update, err error) {
		m, told := metadataOf(u)
		if told && err == nil {
			c.discovered(m)
		}
		q.answer(d, err, func() { d.found.describe(m) })
	})
	ch.GetAsync(ca.DBRClassName, 1, func(u caclient.Update, err error) {
		q.answer(d, err, func() { d.found.classify(u) })
	})
	if named {
		q.askName(d, ch, info)
	}
	for _, f := range fields {
		look(ch, c.pv.Record()+"."+f.name, f.ask, func(_ caclient.Info, u caclient.Update, err error) {
			q.answer(d, err, func() { d.found.read(f.name, u) })
		})
	}
}

// discoveryFields are what is read of a record when its PV connects for the
// first time, beside its type: policies ask for the first three, DESC is shown.
// A number is asked for as one, since its record's PREC would round its text.
var discoveryFields = []struct {
	name string
	ask  ca.DBR
}{{"MDEL", ca.DBRDouble}, {"ADEL", ca.DBRDouble}, {"SCAN", ca.DBRString}, {"DESC", ca.DBRString}}

// answer files the answer to one question; after the last one the discovery is
// complete. If the connection seems to fail it is left to time: either it is
// lost, or d is handed in without what could not be learnt.
func (q *discoveries) answer(d *discovery, err error, fill func()) {
	c := d.channel
	c.mu.Lock()
	if c.discovery != d {
		c.mu.Unlock()
		return
	}
	d.open--
	switch {
	case err == nil:
		fill()
	case !denied(err):
		d.broken = true
	}
	complete := d.open == 0 && !d.broken
	c.mu.Unlock()
	if complete {
		q.handIn(d)
	}
}

// metadataOf is what an answer says. It is optional: one that cannot be read
// says nothing.
func metadataOf(u caclient.Update) (m ca.Metadata, told bool) {
	m, err := ca.DecodeCtrl(u.Type, u.Count, u.Payload)
	return m, err == nil
}

// describe takes units, precision, limits and labels, as far as there are any.
func (f *Discovery) describe(m ca.Metadata) {
	f.Units, f.Precision, f.Limits = m.Units, m.Precision, m.Limits
	maps.DeleteFunc(f.Fields, func(name, _ string) bool { return strings.HasPrefix(name, "ENUM_") })
	for i, label := range m.EnumStrings {
		f.set("ENUM_"+strconv.Itoa(i), label)
	}
}

// set notes a field.
func (f *Discovery) set(name, value string) {
	if f.Fields == nil {
		f.Fields = map[string]string{}
	}
	f.Fields[name] = value
}

// classify takes the record type, if the answer holds one.
func (f *Discovery) classify(u caclient.Update) {
	if u.Type != ca.DBRClassName {
		return
	}
	u.Payload = u.Payload[:min(len(u.Payload), ca.MaxStringSize)]
	if name := textOf(u); name != "" {
		f.set("RTYP", name)
	}
}

// read takes a field, if the answer says something.
func (f *Discovery) read(name string, u caclient.Update) {
	text := textOf(u)
	if v, ok := numberOf(u); ok {
		text = schema.FormatField(v)
	}
	if text != "" {
		f.set(name, text)
	}
}

// tell hands in what is new of a PV that is known to the registry, together with
// what waits to be handed in.
func (c *Channel) tell(fill func(*Discovery)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	set := c.settings.Load()
	native := ca.SampleType(c.info.Native, c.info.Count != 1)
	if c.online == nil || !set.known() || native != set.registered {
		// A PV whose type has changed is described when its type is changed.
		return
	}
	if c.refresh == nil {
		c.refresh = newDiscovery(c, c.info)
		c.refresh.refresh = true
		c.refresh.found.Host = "" // no reason for an event
	}
	fill(&c.refresh.found)
	c.refresh.news++
	c.engine.discoveries.handIn(c.refresh)
}

// refreshed notes that the registry has taken what it was given of a PV; true
// if there is more by now.
func (c *Channel) refreshed(d *discovery) (more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refresh != d || d.news != d.sent {
		return c.refresh == d
	}
	c.refresh = nil
	return false
}
