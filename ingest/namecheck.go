package ingest

import (
	"log/slog"
	"sync/atomic"
	"time"

	"pvlog/ingest/caclient"
	"pvlog/schema"
)

// nameCheck asks, once in a connection and when there is time for it, what a PV
// that is archived already is really called. What it finds is told and never
// acted upon: joining two PVs with data is the operator's decision.
type nameCheck struct {
	channel *Channel    // set when made, read-only
	over    atomic.Bool // its place was given back
}

// checkName plans the check, unless one is planned or under way.
func (c *Channel) checkName() {
	if c.settings.Load().skipAliasCheck || c.checking.Swap(true) {
		return
	}
	c.engine.fieldwork.plan(&nameCheck{channel: c}, 0, time.Now())
}

// connected is the PV's connection.
func (n *nameCheck) connected() (*caclient.Channel, caclient.Info) {
	n.channel.mu.Lock()
	defer n.channel.mu.Unlock()
	if n.channel.closed.Load() {
		return nil, caclient.Info{}
	}
	return n.channel.online, n.channel.info
}

func (n *nameCheck) wants(uint32) (wanted, search bool) {
	link, _ := n.connected()
	if link == nil {
		n.channel.checking.Store(false)
	}
	return link != nil, false
}

func (n *nameCheck) try(uint32) bool {
	c := n.channel
	link, info := n.connected()
	if link == nil {
		c.checking.Store(false)
		return false
	}
	c.engine.fieldwork.expect(n, 0)
	realName(link, c.pv, info, func(real schema.PVName, err error) {
		n.expire(0)
		if err == nil && real != "" {
			c.isCalled(real)
		}
	})
	return true
}

// expire gives the place back, once. What a slow server answers later counts
// all the same.
func (n *nameCheck) expire(uint32) {
	if !n.over.Swap(true) {
		n.channel.checking.Store(false)
		n.channel.engine.fieldwork.release(false)
	}
}

// isCalled notes the PV's real name, if the registry has another one or does
// not know that there is one.
func (c *Channel) isCalled(real schema.PVName) {
	known := c.pv
	info, ok := c.engine.opt.Known(c.pv)
	if ok && info.Fields["NAME"] != "" {
		known = schema.PVName(info.Fields["NAME"])
	}
	if real == known {
		return
	}
	if real != c.pv {
		c.engine.metrics.aliasesFound.Inc()
		c.engine.log.Warn("an archived PV is an alias at its IOC; it goes on under this name until the two are joined on command",
			slog.String("pv", string(c.pv)), slog.String("name", string(real)))
	}
	c.tell(func(f *Discovery) { f.set("NAME", string(real)) })
}
