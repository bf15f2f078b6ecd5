package streams

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// Drop is a sample that no partition may hold. Sample is nil when the message
// could not be decoded; Raw is then all of it.
type Drop struct {
	Reason      string // one token: letters, digits and '_'
	Detail      string // the verdict's numbers, for people
	PV          schema.PVName
	Position    Position // in SAMPLES
	Sample      *schema.RawSample
	Raw         []byte
	Redelivered bool // it may have been published before
}

// The headers of a drop, for whoever runs nats sub 'drops.>'.
const (
	headerPV       = "Pvlog-PV"
	headerReason   = "Pvlog-Reason"
	headerDetail   = "Pvlog-Detail"
	headerTime     = "Pvlog-Time"     // of the sample
	headerPosition = "Pvlog-Position" // sequence/index/Unix nanoseconds of its message
	headerPart     = "Pvlog-Part"     // n/count, of a drop that no message can hold
)

// DropLog keeps rejected samples, in DROPS. It may be used from any goroutine.
type DropLog struct {
	log *Log // set by New

	mu         sync.Mutex // guards what follows: appends go one after the other
	batcher    *batcher
	reconnects int64
	seen       seenDrops         // during a redelivery
	doubt      bool              // an append failed midway: the next one looks for all of its drops
	expiry     *expiry           // what has left; nil until it is read
	reasons    map[string]bool   // that DROPS has had drops of; nil until the server was asked
	sizes      map[string]sizeOf // of the messages that were stored, by subject
	rate       meanRate          // bytes stored

	keepingMu sync.Mutex // guards what follows; taken last
	keeping   DropKeeping
	early     bool // it was told that drops leave before their time
}

// Append stores drops and waits until the log has them; [Log.Sync] makes them
// durable. On an error some may be stored: append all of them again. A
// redelivered drop whose position stands on its subject already is not stored
// again.
func (d *DropLog) Append(ctx context.Context, drops []Drop) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.append(ctx, drops)
	if isFull(err) {
		// All that was stored already is found again.
		d.seen, d.doubt = seenDrops{}, true
		if err = d.afterRoom(ctx, drops, err); err == nil {
			err = d.append(ctx, drops)
		}
	}
	if err != nil {
		d.seen, d.doubt = seenDrops{}, true
		return err
	}
	d.doubt = false
	return nil
}

// afterRoom makes room for drops that DROPS had none for.
func (d *DropLog) afterRoom(ctx context.Context, drops []Drop, full error) error {
	s, err := d.log.current()
	if err != nil {
		return err
	}
	state, err := s.dropState(ctx)
	if err == nil {
		err = d.loadExpiry(state)
	}
	need := d.room() / roomParts
	for i := range drops {
		need += int64(drops[i].size())
	}
	if err == nil {
		err = d.makeRoom(ctx, s, min(need, int64(state.Bytes)))
	}
	if err != nil {
		return fmt.Errorf("%w, and no room can be made: %w", full, err)
	}
	return nil
}

func (d *DropLog) append(ctx context.Context, drops []Drop) error {
	s, err := d.log.current()
	if err != nil {
		return err
	}
	if err := d.seen.load(ctx, s, drops, d.doubt); err != nil {
		return err
	}
	var wire []outgoing
	size := 0
	for i := range drops {
		drop := &drops[i]
		subject, err := drop.subject()
		if err != nil {
			return err
		}
		if (drop.Redelivered || d.doubt) && d.seen.has(subject, drop.Position) {
			d.log.metrics.dropsSeen.Inc()
			continue
		}
		d.seen.add(subject, drop.Position)
		before := len(wire)
		if wire, err = d.fitting(drop).appendWire(wire, subject); err != nil {
			return err
		}
		for _, m := range wire[before:] {
			size += len(m.data)
			d.account(m)
		}
		if len(wire) >= batchMessages/2 || size >= batchBytes {
			if err := d.send(ctx, s, wire); err != nil {
				return err
			}
			wire, size = wire[:0], 0
		}
	}
	return d.send(ctx, s, wire)
}

// send stores messages; what is not stored at once is sent again with the whole.
func (d *DropLog) send(ctx context.Context, s *session, wire []outgoing) error {
	if len(wire) == 0 {
		return nil
	}
	if d.batcher == nil || d.batcher.s != s || d.reconnects != d.log.reconnects.Load() {
		if d.batcher != nil {
			d.batcher.close()
		}
		d.reconnects = d.log.reconnects.Load()
		b, err := newBatcher(s, fmt.Sprintf("drops%d", d.reconnects))
		if err != nil {
			return err
		}
		d.batcher = b
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	stored, err := d.batcher.send(ctx, wire)
	d.log.metrics.drops.Add(float64(stored))
	if err != nil {
		return fmt.Errorf("store %d drops: %w", len(wire), err)
	}
	return nil
}

// sizesMost bounds the subjects whose sizes are remembered.
const sizesMost = 500_000

// account notes the size of a message that is stored.
func (d *DropLog) account(m outgoing) {
	n := len(m.subject) + len(m.data)
	for key, values := range m.header {
		n += len(key) + len(values[0]) + 4
	}
	d.rate.since += float64(n)
	if d.sizes == nil || len(d.sizes) > sizesMost {
		d.sizes = map[string]sizeOf{}
	}
	known := d.sizes[m.subject]
	d.sizes[m.subject] = sizeOf{known.messages + 1, known.bytes + int64(n)}
	if d.reasons != nil {
		d.reasons[reasonOf(m.subject)] = true
	}
}

// fitting gives the drop itself, or without its sample if the whole drop log has
// no room for that: why and where it was dropped stays known.
func (d *DropLog) fitting(drop *Drop) *Drop {
	n, most := drop.size(), d.room()/2
	if int64(n) <= most {
		return drop
	}
	small := *drop
	small.Sample, small.Raw = nil, nil
	small.Detail += fmt.Sprintf(" (its %d bytes are not kept: drops.max_bytes is %d)", n, d.room())
	d.log.metrics.dropsTooLarge.Inc()
	d.log.log.Warn("a drop is too large for the drop log: only its reason is kept", "pv", string(drop.PV), "seq", drop.Position.Seq, "bytes", n, "max_bytes", d.room())
	return &small
}

// size is about how many bytes the drop takes.
func (d *Drop) size() int {
	n := len(d.Raw) + len(d.Detail) + 300
	if d.Sample != nil {
		n += len(d.Sample.Event)
	}
	return n
}

func (d *Drop) subject() (string, error) {
	for _, r := range d.Reason {
		if r != '_' && (r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r)) {
			return "", fmt.Errorf("drop of %s: reason %q: letters, digits and '_' make a reason", d.PV, d.Reason)
		}
	}
	if d.Reason == "" {
		return "", fmt.Errorf("drop of %s: it has no reason", d.PV)
	}
	return Subject(DropsPrefix+"."+d.Reason, d.PV), nil
}

// appendWire adds the drop as it is sent.
func (d *Drop) appendWire(wire []outgoing, subject string) ([]outgoing, error) {
	data, err := d.encode()
	if err != nil {
		return wire, err
	}
	count := (len(data) + partBytes - 1) / partBytes
	if len(data) <= singleBytes {
		count = 1
	}
	for i := range count {
		m := outgoing{subject: subject, header: d.header(), data: data}
		if count > 1 {
			m.header.Set(headerPart, fmt.Sprintf("%d/%d", i+1, count))
			m.data = data[i*partBytes : min((i+1)*partBytes, len(data))]
		}
		wire = append(wire, m)
	}
	return wire, nil
}

// encode gives the logpb.Drop.
func (d *Drop) encode() ([]byte, error) {
	p := &logpb.Drop{
		Version: schema.MessageVersion, Pv: strings.ToValidUTF8(string(d.PV), "\uFFFD"),
		Reason: d.Reason, Detail: strings.ToValidUTF8(d.Detail, "\uFFFD"),
		LogSequence: d.Position.Seq, LogIndex: uint32(d.Position.Index), LogTime: d.Position.Time.UnixNano(),
	}
	if d.Sample == nil {
		p.Raw = d.Raw
	} else {
		p.Sample = sampleProto(d.Sample)
	}
	data, err := proto.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode drop of %s: %w", d.PV, err)
	}
	return schema.AppendChecksum(data, 0), nil
}

func sampleProto(s *schema.RawSample) *logpb.Sample {
	return &logpb.Sample{
		Type: uint32(s.Type), Year: uint32(s.Year), Received: s.Received.UnixNano(), First: s.First,
		RegisteredType: uint32(s.Registered), DriftPast: uint32(s.DriftPast / time.Second), DriftFuture: uint32(s.DriftFuture / time.Second),
		Generation: s.Generation, RateEvents: s.RateEvents, RateBytes: s.RateBytes, Event: s.Event,
	}
}

func (d *Drop) header() nats.Header {
	h := nats.Header{}
	h.Set(headerPV, headerText(string(d.PV)))
	h.Set(headerReason, d.Reason)
	h.Set(headerDetail, headerText(d.Detail))
	h.Set(headerPosition, formatPosition(d.Position))
	if d.Sample != nil {
		if e, err := schema.ScanEvent(d.Sample.Event); err == nil {
			h.Set(headerTime, e.Time(d.Sample.Year).String())
		}
	}
	return h
}

// headerText makes text fit for a header: one line of printable characters.
func headerText(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

func formatPosition(p Position) string {
	return fmt.Sprintf("%d/%d/%d", p.Seq, p.Index, p.Time.UnixNano())
}

// parsePosition reads a position; one that cannot be read is zero, which every
// other is above.
func parsePosition(s string) Position {
	fields := strings.Split(s, "/")
	if len(fields) != 3 {
		return Position{}
	}
	seq, err1 := strconv.ParseUint(fields[0], 10, 64)
	index, err2 := strconv.Atoi(fields[1])
	nanos, err3 := strconv.ParseInt(fields[2], 10, 64)
	if errors.Join(err1, err2, err3) != nil {
		return Position{}
	}
	return Position{Seq: seq, Index: index, Time: time.Unix(0, nanos)}
}
