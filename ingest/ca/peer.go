package ca

import "time"

// First minor versions of servers that can do something. Older ones than
// minorClaimName (EPICS before 3.13) give a name a channel when they answer its
// search; libca still talks to them, and so does this package.
const (
	minorIdentity    = 1 // CLIENT_NAME and HOST_NAME; a status in the answers to EVENT_ADD and READ_NOTIFY
	minorRights      = 2 // ACCESS_RIGHTS; before, everything is granted
	minorClaimAnswer = 2 // CREATE_CHAN is answered
	minorClaimName   = 4 // CREATE_CHAN carries the name
)

// CreateFound is [Circuit.Create] for a name that a search reply found: a
// server of [Reply].Old is claimed as such a server has to be.
func (c *Circuit) CreateFound(now time.Time, cid uint32, name string, mask uint16, owner any, r Reply) {
	if !r.Old || c.minor >= minorClaimName {
		c.Create(now, cid, name, mask, owner)
		return
	}
	ch := c.claim(now, cid, mask, owner)
	ch.sid, ch.old = r.SID, true
	c.out = AppendHeader(c.out, Header{Command: CmdCreateChan, P1: r.SID, P2: MinorVersion})
	if c.minor < minorClaimAnswer && r.Native <= DBRDouble {
		c.early = append(c.early, c.opened(ch, r.SID, r.Native, r.Count))
	}
}

// sidOf is the server's id of a channel whose claim h answers.
func (ch *circuitChannel) sidOf(h Header) uint32 {
	if ch.old {
		return ch.sid
	}
	return h.P2
}

// status is the ECA status of an answer to EVENT_ADD or READ_NOTIFY.
func (c *Circuit) status(h Header) uint32 {
	if c.minor < minorIdentity {
		return StatusNormal
	}
	return h.P1
}
