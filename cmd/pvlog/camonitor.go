package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

type caMonitorCmd struct {
	caLink
	caFormat
	Mask   string   `short:"m" default:"va" placeholder:"MASK" help:"What is told: v value, a alarm, l log (archive), p property."`
	Stamps string   `short:"t" default:"s" placeholder:"KEY" help:"Time stamps: s of the server, c of the client, n none; r since the start, i since the last update, I since the PV's last one."`
	PVs    []string `arg:"" name:"pv" help:"PV names."`
}

// Run prints updates until ctx ends.
func (c *caMonitorCmd) Run(ctx context.Context, log *slog.Logger) error {
	wait, err := c.limit()
	if err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	mask, err := parseMask(c.Mask)
	if err != nil {
		return exitError{exitUsage, err}
	}
	m := &caMonitor{format: c.caFormat, mask: mask, out: os.Stdout, failed: make(chan error, 1)}
	if m.stamps, err = parseStamps(c.Stamps, time.Now()); err != nil {
		return exitError{exitUsage, err}
	}
	return c.withCA(ctx, log, max(wait, 10*time.Second), func(client *caclient.Client) error {
		return m.run(ctx, client, c.PVs, wait)
	})
}

// parseMask reads the letters of -m.
func parseMask(letters string) (mask uint16, err error) {
	for _, c := range letters {
		switch c {
		case 'v':
			mask |= ca.MaskValue
		case 'a':
			mask |= ca.MaskAlarm
		case 'l':
			mask |= ca.MaskLog
		case 'p':
			mask |= ca.MaskProperty
		default:
			return 0, fmt.Errorf("-m %q: %q is none of v, a, l and p", letters, c)
		}
	}
	if mask == 0 {
		return 0, fmt.Errorf("-m %q: at least one of v, a, l and p is expected", letters)
	}
	return mask, nil
}

// caMonitor prints the updates of all PVs.
type caMonitor struct {
	// set before the first channel, read-only
	format caFormat
	mask   uint16
	failed chan error // of printing

	// guarded by mu
	mu     sync.Mutex
	out    io.Writer
	stamps caStamps
}

func (m *caMonitor) run(ctx context.Context, client *caclient.Client, names []string, wait time.Duration) error {
	pvs := make([]*monitoredPV, len(names))
	for i, name := range names {
		pvs[i] = &monitoredPV{monitor: m, name: name, precision: -1}
		client.Open(name, pvs[i])
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-m.failed:
			return fmt.Errorf("print: %w", err)
		case <-timer.C:
			for _, p := range pvs {
				p.reportMissing()
			}
		}
	}
}

// print writes a line; after the first failure the command ends.
func (m *caMonitor) print(line string) {
	if _, err := io.WriteString(m.out, line+"\n"); err != nil {
		select {
		case m.failed <- err:
		default:
		}
	}
}

// monitoredPV is the handler of one channel.
type monitoredPV struct {
	// set before the channel opens, read-only
	monitor *caMonitor
	name    string

	// guarded by the monitor's mu
	once      bool   // it was connected
	capacity  uint32 // of its channel
	count     uint32 // of its last update
	labels    []string
	precision int
}

// Connected subscribes, after labels or precision are known: updates come in
// the native type, and neither is in them.
func (p *monitoredPV) Connected(ch *caclient.Channel, info caclient.Info) {
	f := p.monitor.format
	p.monitor.mu.Lock()
	p.once, p.capacity, p.count = true, info.Count, info.Count
	p.monitor.mu.Unlock()
	if info.Native == ca.DBRString || f.timeType(info.Native) != ca.DBRTimeString {
		ch.Subscribe(p.monitor.mask)
		return
	}
	ch.GetAsync(info.Native.Ctrl(), 1, func(u caclient.Update, err error) {
		if err == nil {
			if meta, err := ca.DecodeCtrl(u.Type, u.Count, u.Payload); err == nil {
				if info.Native == ca.DBREnum {
					meta.EnumStrings = enumLabels(u.Payload)
				}
				p.learn(info.Native, meta)
			}
		}
		ch.Subscribe(p.monitor.mask) // numbers are better than nothing
	})
}

func (p *monitoredPV) learn(native ca.DBR, meta ca.Metadata) {
	p.monitor.mu.Lock()
	defer p.monitor.mu.Unlock()
	p.labels, p.precision = meta.EnumStrings, -1
	if native != ca.DBREnum {
		p.precision = min(max(meta.Precision, 0), maxDigits)
	}
}

// Disconnected prints the loss.
func (p *monitoredPV) Disconnected(*caclient.Channel, error) {
	p.trouble(ca.ErrNotConnected, time.Now())
}

// Update prints the value.
func (p *monitoredPV) Update(_ *caclient.Channel, u caclient.Update) {
	if u.Status != ca.StatusNormal {
		p.trouble(&caclient.StatusError{Status: u.Status}, u.Received)
		return
	}
	m := p.monitor
	m.mu.Lock()
	defer m.mu.Unlock()
	r := caReading{name: p.name, data: u.Type, count: u.Count, payload: u.Payload, monitored: true, labels: p.labels, precision: p.precision}
	if n := min(m.format.Count, p.capacity); n > 0 {
		r = r.first(n).padded(n)
	}
	p.count = r.count
	m.print(m.format.wide(r, m.stamps.text(m.format, p.name, r.time(), schema.TimeOf(u.Received))))
}

func (p *monitoredPV) trouble(err error, at time.Time) {
	m := p.monitor
	m.mu.Lock()
	defer m.mu.Unlock()
	m.print(m.format.label(p.name, p.count) + m.format.stampedTrouble(err, at))
}

func (p *monitoredPV) reportMissing() {
	m := p.monitor
	m.mu.Lock()
	defer m.mu.Unlock()
	if !p.once {
		m.print(m.format.label(p.name, 0) + notFound)
	}
}
