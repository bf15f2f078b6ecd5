package ingest

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
)

// Patience of a field's monitor (S53).
const (
	fieldWait      = 10 * time.Second // for a connection and a first value: the field may not exist
	fieldPause     = 5 * time.Second  // before it is tried again, doubled with each failure
	fieldPauseLast = 60 * time.Second
)

var errFieldSilent = errors.New("it did not connect and tell a value in time")

// fieldMonitor is one archive field of a PV: the handler of a channel
// RECORD.FIELD on the circuit of the PV's own channel. If the server says that
// it has no such channel it is searched instead, every other time: a gateway
// only knows names that were searched. Between attempts it waits in fieldwork.
type fieldMonitor struct {
	set  *fieldSet // set when made, read-only
	name string    // as set

	// guarded by set.mu
	stage    fieldStage
	turn     uint32            // counts stages: what was planned in an earlier one is off
	link     *caclient.Channel // while trying or live
	waveform bool
	searched bool // the present attempt is, or the last one was, by a search
	search   bool // the next one is to be
	warned   bool // of failures, since the last success
	failures uint8

	value   string // told last, kept over losses
	known   bool   // it was told
	pending bool   // value waits for a sample
	riding  bool   // value is in a sample that the log has not taken yet
	changed bool   // value is another one than an earlier sample carried
}

// fieldStage is where a fieldMonitor stands.
type fieldStage uint8

const (
	fieldIdle    fieldStage = iota // the PV is not connected
	fieldWaiting                   // for its turn in fieldwork
	fieldTrying                    // for a connection and a value, fieldWait at most
	fieldLive
)

// enter changes the stage, and what fieldwork counts. set.mu is held.
func (m *fieldMonitor) enter(s fieldStage) {
	if m.stage == fieldTrying {
		m.work().release(m.searched)
	}
	m.stage = s
	m.turn++
}

func (m *fieldMonitor) work() *fieldwork { return m.set.channel.engine.fieldwork }

// await plans the next attempt. set.mu is held.
func (m *fieldMonitor) await(pause time.Duration) {
	m.close()
	m.enter(fieldWaiting)
	m.work().plan(m, m.turn, time.Now().Add(pause))
}

// stop ends what goes on. set.mu is held.
func (m *fieldMonitor) stop() {
	m.close()
	m.enter(fieldIdle)
}

// close ends the channel. set.mu is held.
func (m *fieldMonitor) close() {
	if m.link != nil {
		m.link.Close()
		m.link = nil
	}
}

// try begins an attempt that was planned for a turn, in a place that fieldwork
// holds for it. False gives the place back.
func (m *fieldMonitor) try(turn uint32) bool {
	s := m.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.turn != turn || m.stage != fieldWaiting || s.link == nil {
		return false
	}
	m.enter(fieldTrying)
	m.searched, m.search = m.search, false
	name := s.channel.pv.Record() + "." + m.name
	if m.searched {
		m.link = s.channel.engine.opt.Client.Open(name, m)
	} else if link, err := s.link.Sibling(name, m); err == nil {
		m.link = link
	} else {
		m.failed(err)
		return true
	}
	m.work().expect(m, m.turn)
	return true
}

// wants tells whether an attempt planned for a turn is wanted still, and if so
// whether it is a search.
func (m *fieldMonitor) wants(turn uint32) (wanted, search bool) {
	m.set.mu.Lock()
	defer m.set.mu.Unlock()
	return m.turn == turn && m.set.link != nil, m.search
}

// expire ends an attempt that has taken too long.
func (m *fieldMonitor) expire(turn uint32) {
	m.set.mu.Lock()
	defer m.set.mu.Unlock()
	if m.turn == turn {
		m.failed(errFieldSilent)
	}
}

// failed plans another attempt, later each time, and warns once when it is
// clear that this is how it stays. set.mu is held.
func (m *fieldMonitor) failed(cause error) {
	c := m.set.channel
	c.history.transientErrors.Add(1)
	c.engine.metrics.transientErrors.Inc()
	pause := min(fieldPause<<m.failures, fieldPauseLast)
	if m.failures < 8 {
		m.failures++
	}
	if pause == fieldPauseLast && !m.warned {
		m.warned = true
		c.engine.log.Warn("an archive field tells no value; it is tried now and then", slog.String("pv", string(c.pv)),
			slog.String("field", m.name), slog.Duration("every", fieldPauseLast), slog.Any("err", cause))
	}
	m.search = !m.searched && errors.Is(cause, ca.ErrNoChannel)
	m.await(pause)
}

// Connected subscribes.
func (m *fieldMonitor) Connected(ch *caclient.Channel, info caclient.Info) {
	m.set.mu.Lock()
	defer m.set.mu.Unlock()
	if ch == m.link {
		m.waveform = info.Count != 1
		ch.Subscribe(m.set.channel.engine.opt.Mask)
	}
}

// Disconnected says that the field is lost or was never there. What has lived
// is tried again like a failure, but is none.
func (m *fieldMonitor) Disconnected(ch *caclient.Channel, cause error) {
	m.set.mu.Lock()
	defer m.set.mu.Unlock()
	switch {
	case ch != m.link:
	case m.stage == fieldLive:
		m.await(fieldPause)
	default:
		m.failed(cause)
	}
}

// Update takes a value. What the server sends cannot harm more than this field.
func (m *fieldMonitor) Update(ch *caclient.Channel, u caclient.Update) {
	m.set.mu.Lock()
	defer m.set.mu.Unlock()
	if ch != m.link {
		return
	}
	text, err := m.read(u)
	switch {
	case err == nil:
		m.took(text)
	case m.stage == fieldLive:
		m.set.channel.history.transientErrors.Add(1)
		m.set.channel.engine.metrics.transientErrors.Inc()
	default:
		m.failed(err)
	}
}

// read is the update's text; a panic is an error like others (S54).
func (m *fieldMonitor) read(u caclient.Update) (text string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			m.set.channel.engine.log.Error("an archive field's value could not be read: please report this",
				slog.String("pv", string(m.set.channel.pv)), slog.String("field", m.name), slog.Any("err", err))
		}
	}()
	return fieldText(u, m.waveform)
}

// took notes a value. set.mu is held.
func (m *fieldMonitor) took(text string) {
	if m.stage != fieldLive {
		m.enter(fieldLive)
		m.search = m.searched // this is how it is found
	}
	m.failures, m.warned = 0, false
	if m.known && m.value == text {
		return
	}
	m.changed = m.changed || m.known && !m.pending
	m.value, m.known, m.pending = text, true, true
	m.set.pending.Store(true)
	m.set.channel.engine.log.Debug("archive field", slog.String("pv", string(m.set.channel.pv)), slog.String("field", m.name), slog.String("value", text))
}
