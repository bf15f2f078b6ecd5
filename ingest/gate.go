package ingest

import (
	"bytes"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

// gate is one controlling PV: the handler of its channel.
type gate struct {
	// set by hold, read-only
	gates *gates
	pv    schema.PVName

	waveform bool // owned by the goroutine that calls the handler

	// guarded by gates.mu
	link   *caclient.Channel
	pvs    map[schema.PVName]struct{}
	listed bool // stands in gates.turned
	Gate
}

// Connected wants every change of the value.
func (is *gate) Connected(ch *caclient.Channel, info caclient.Info) {
	is.waveform = info.Count != 1
	is.gates.mu.Lock()
	is.Gate.Connected = true
	is.gates.mu.Unlock()
	ch.Subscribe(ca.MaskValue | ca.MaskLog)
}

// Disconnected changes nothing but what is told: the last value stands.
func (is *gate) Disconnected(_ *caclient.Channel, cause error) {
	is.gates.mu.Lock()
	is.Gate.Connected = false
	is.gates.mu.Unlock()
	is.gates.engine.log.Debug("controlling PV disconnected", slog.String("pv", string(is.pv)), slog.Any("err", cause))
}

// Update turns the gate if it must. An update without a value says nothing.
func (is *gate) Update(_ *caclient.Channel, u caclient.Update) {
	value, open, ok := gateValue(u, is.waveform)
	if !ok {
		return
	}
	if turned, pvs := is.take(value, open); turned {
		is.gates.engine.log.Info("a controlling PV has turned", slog.String("pv", string(is.pv)), slog.String("value", value),
			slog.Bool("archive", open), slog.Int("pvs", pvs))
		return
	}
	is.gates.engine.log.Debug("value of a controlling PV", slog.String("pv", string(is.pv)), slog.String("value", value))
}

// take notes a value, and tells whether the gate has turned with it and for how
// many PVs.
func (is *gate) take(value string, open bool) (turned bool, pvs int) {
	g := is.gates
	g.mu.Lock()
	defer g.mu.Unlock()
	is.Known, is.Value = true, value
	if open == is.Open {
		return false, 0
	}
	is.Open, is.Since = open, time.Now()
	if !is.listed {
		is.listed = true
		g.turned = append(g.turned, is)
	}
	signal(g.wake)
	return true, len(is.pvs)
}

// gateValue is what an update of a controlling PV says: 0 shuts. A number, the
// index of an enum or the first element of an array counts, and so does text
// that is a number; no text is 0. NaN is not 0.
func gateValue(u caclient.Update, waveform bool) (value string, open, ok bool) {
	if u.Status != ca.StatusNormal {
		return "", false, false
	}
	text, isText := ca.TextValue(u.Type, u.Count, u.Payload)
	if offset := u.Type.ValueOffset(); waveform && u.Type.Native() == ca.DBRChar && int64(len(u.Payload)) >= u.Type.Size(u.Count) {
		chars, _, _ := bytes.Cut(u.Payload[offset:u.Type.Size(u.Count)], []byte{0}) // a long string
		text, isText = string(chars), true
	}
	if isText {
		v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		return text, text != "" && (err != nil || v != 0), true
	}
	v, ok := ca.Number(u.Type, u.Count, u.Payload)
	return strconv.FormatFloat(v, 'g', -1, 64), v != 0, ok
}
