package streams

import (
	"fmt"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// maxJoined bounds a sample that travels in parts: more is never allocated on
// the word of a message.
const maxJoined = 1 << 30

// partSet collects the parts of one large sample. They follow each other in the
// stream; anything between them ends the set.
type partSet struct {
	pv    schema.PVName
	id    uint64
	count uint32
	total uint64
	first uint64 // stream sequence of part 0
	next  uint32 // the part that must come
	data  []byte
}

// reset forgets the set and gives the parts that it had, with the sequence of
// the first.
func (p *partSet) reset() (first uint64, parts uint32) {
	first, parts = p.first, p.next
	*p = partSet{}
	return first, parts
}

// add takes a part; done means that data is complete. It refuses a part that
// does not continue the set.
func (p *partSet) add(pv schema.PVName, seq uint64, part *logpb.Part) (done bool, err error) {
	if part.GetNumber() == 0 && p.next == 0 {
		*p = partSet{pv: pv, id: part.GetId(), count: part.GetCount(), total: part.GetTotal(), first: seq}
	}
	switch {
	case part.GetCount() == 0 || part.GetTotal() > maxJoined:
		return false, fmt.Errorf("%w: a sample in %d parts of %d bytes", schema.ErrDamaged, part.GetCount(), part.GetTotal())
	case pv != p.pv || part.GetId() != p.id || part.GetNumber() != p.next || part.GetCount() != p.count || part.GetTotal() != p.total:
		return false, fmt.Errorf("%w: part %d of %d follows part %d of another set", schema.ErrDamaged, part.GetNumber(), part.GetCount(), p.next)
	case uint64(len(p.data)+len(part.GetData())) > p.total:
		return false, fmt.Errorf("%w: parts of a sample are longer than the %d bytes they announce", schema.ErrDamaged, p.total)
	}
	p.data = append(p.data, part.GetData()...)
	p.next++
	if p.next < p.count {
		return false, nil
	}
	if uint64(len(p.data)) != p.total {
		return false, fmt.Errorf("%w: parts of a sample have %d bytes, they announce %d", schema.ErrDamaged, len(p.data), p.total)
	}
	return true, nil
}

// join adds a part to the set and, with the last one, fills in the message. It
// reports whether the message is complete.
func (c *Consumer) join(m *Message, part *logpb.Part) bool {
	if part.GetNumber() == 0 {
		c.abandon(c.set.reset())
	}
	done, err := c.set.add(m.PV, m.Seq, part)
	if err != nil {
		c.abandon(c.set.reset())
		c.log.metrics.damaged.Inc()
		m.Err = err
		return true
	}
	if !done {
		return false
	}
	m.First, m.Raw = c.set.first, c.set.data
	c.set.reset()
	m.Samples, part, m.Err = schema.DecodeSampleMessage(m.Raw, nil)
	if m.Err == nil && part != nil {
		m.Err = fmt.Errorf("%w: a part within parts", schema.ErrDamaged)
	}
	if m.Err != nil {
		m.Samples = nil
		c.log.metrics.damaged.Inc()
	}
	return true
}

// abandon tells of a set that will never be complete. The publisher begins a
// set again when its first attempt failed, so this alone is no loss.
func (c *Consumer) abandon(first uint64, parts uint32) {
	if parts == 0 {
		return
	}
	c.log.metrics.incomplete.Inc()
	c.log.log.Warn("an incomplete set of parts was discarded", "seq", first, "parts", parts)
}
