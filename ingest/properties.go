package ingest

import (
	"hash/maphash"
	"math"
	"strconv"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

// propertyNames are the fields behind what an IOC says of a value, in the
// order of properties.seen; the labels of an enum share the last place.
var propertyNames = [...]string{"EGU", "PREC", "HOPR", "LOPR", "HIHI", "HIGH", "LOW", "LOLO", "DRVH", "DRVL", "ENUM"}

// maxRiding bounds the field values that wait for a sample to ride on.
const maxRiding = 4 << 10

// properties is what a channel remembers of units, limits and labels: prints
// alone, since a hundred thousand copies of them would be the largest part of
// a channel. Guarded by Channel.sampling.
type properties struct {
	seen   [len(propertyNames)]uint32 // prints, 0: not told yet
	riding []byte                     // field values for the next sample that can be kept (D12)
}

var propertySeed = maphash.MakeSeed()

// propertyPrint is never 0.
func propertyPrint(text string) uint32 { return uint32(maphash.String(propertySeed, text)) | 1 }

// note takes what the IOC says now and puts what is new on the next sample,
// everything after a start. It tells whether anything was.
func (p *properties) note(m ca.Metadata) bool {
	texts := propertyTexts(m)
	started := p.seen == [len(propertyNames)]uint32{}
	if len(p.riding) > maxRiding {
		p.seen, p.riding = [len(propertyNames)]uint32{}, nil
	}
	changed := false
	for i, text := range texts {
		print := propertyPrint(text)
		if p.seen[i] == print {
			continue
		}
		p.seen[i], changed = print, true
		if i < len(propertyNames)-1 {
			if text != "" {
				p.riding = schema.AppendField(p.riding, propertyNames[i], text)
			}
			continue
		}
		for n, label := range m.EnumStrings {
			p.riding = schema.AppendField(p.riding, "ENUM_"+strconv.Itoa(n), label)
		}
	}
	if changed && !started {
		p.riding = schema.AppendFieldsChanged(p.riding, true)
	}
	return changed
}

// propertyTexts are the values of propertyNames, "" where there is none. A
// limit that is NaN is one that the record does not use.
func propertyTexts(m ca.Metadata) (texts [len(propertyNames)]string) {
	texts[0] = m.Units
	if m.Limits != nil {
		texts[1] = strconv.Itoa(m.Precision)
	}
	for i, name := range propertyNames[2 : len(propertyNames)-1] {
		if v, ok := m.Limits[name]; ok && !math.IsNaN(v) {
			texts[2+i] = schema.FormatField(v)
		}
	}
	for _, label := range m.EnumStrings {
		texts[len(texts)-1] += label + "\x00"
	}
	return texts
}

// Properties takes the units, limits and labels of a connected channel: after
// each connection, and when the IOC says that they have changed. What is new
// rides on the next sample and goes to the registry.
func (c *Channel) Properties(_ *caclient.Channel, m ca.Metadata) {
	c.sampling.Lock()
	changed := !c.closed.Load() && c.properties.note(m)
	c.sampling.Unlock()
	if !changed {
		return
	}
	c.engine.metrics.propertyChanges.Inc()
	c.tell(func(f *Discovery) { f.describe(m) })
}

// discovered puts the properties that a discovery reads on the first sample;
// the registry is told of them with the discovery.
func (c *Channel) discovered(m ca.Metadata) {
	if c.engine.opt.NoProperties {
		return
	}
	c.sampling.Lock()
	defer c.sampling.Unlock()
	c.properties.note(m)
}

// ride adds to an event the field values that wait for a sample.
func (p *properties) ride(event []byte) []byte { return append(event, p.riding...) }

// rode notes that a sample carried them into the log.
func (p *properties) rode() { p.riding = nil }

// paused notes, for the next sample, that flow control had the IOC paused: it
// may have merged what happened then.
func (c *Channel) paused(u *caclient.Update) {
	if u.Paused == 0 || len(c.properties.riding) > maxRiding {
		return
	}
	c.properties.riding = schema.AppendField(c.properties.riding, "flowpausedsecs", strconv.FormatFloat(u.Paused.Seconds(), 'f', 6, 64))
}
