package streams

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"pvlog/schema"
)

// BenchOptions configures Bench. The zero value of a field is its default.
type BenchOptions struct {
	Dir          string        // an empty directory; it must be given
	Durability   string        // as in Options
	SyncInterval time.Duration // as in Options
	Messages     int           // default 500,000
	Payload      int           // bytes of each message; default 80
	PVs          int           // subjects; default 1,000
	Logger       *slog.Logger  // nil = discard
}

// BenchPhase is what one part of a benchmark took.
type BenchPhase struct {
	Messages int
	Elapsed  time.Duration
	CPU      time.Duration // of the process: publisher, server and consumer
}

// Rate is messages per second.
func (p BenchPhase) Rate() float64 { return float64(p.Messages) / p.Elapsed.Seconds() }

// PerMessage is microseconds of CPU per message.
func (p BenchPhase) PerMessage() float64 {
	return float64(p.CPU.Nanoseconds()) / 1000 / float64(p.Messages)
}

// BenchResult is what bare JetStream costs on this machine.
type BenchResult struct {
	Publish BenchPhase // into the stream, nobody reads
	Consume BenchPhase // fetch and acknowledge what is there
	Both    BenchPhase // publisher and consumer at once
}

// Bench measures bare JetStream with the log's own settings: fast batches into
// SAMPLES, the durable consumer with one acknowledgement per fetch. Payloads are
// not samples: nothing is encoded or decoded.
func Bench(ctx context.Context, o BenchOptions) (BenchResult, error) {
	setDefault(&o.Messages, 500_000)
	setDefault(&o.Payload, 80)
	setDefault(&o.PVs, 1000)
	if o.Messages < 1 || o.Payload < 1 || o.Payload > singleBytes || o.PVs < 1 {
		return BenchResult{}, schema.Errorf(schema.Invalid, "bench: messages, PVs and payload must be positive, the payload at most %d bytes", singleBytes)
	}
	l := New(Options{Dir: o.Dir, Durability: o.Durability, SyncInterval: o.SyncInterval, Logger: o.Logger})
	if err := l.Open(ctx); err != nil {
		return BenchResult{}, err
	}
	defer func() { _ = l.Close() }()
	b := &bench{log: l, o: o}
	if err := b.prepare(ctx); err != nil {
		return BenchResult{}, err
	}
	defer b.batcher.close()
	return b.run(ctx)
}

// bench is a run of Bench.
type bench struct {
	log     *Log
	o       BenchOptions
	batcher *batcher
	wire    []outgoing // one batch, sent again and again
}

func (b *bench) prepare(ctx context.Context) error {
	if need := int64(2*b.o.Messages) * int64(b.o.Payload+80); need > b.log.lim.limit {
		return schema.Errorf(schema.Invalid, "bench: %s of messages do not fit the log's %s: use fewer or smaller ones", bytesText(need), bytesText(b.log.lim.limit))
	}
	s, err := b.log.current()
	if err != nil {
		return err
	}
	if b.batcher, err = newBatcher(s, "bench"); err != nil {
		return err
	}
	payload := make([]byte, b.o.Payload)
	for i := range payload {
		payload[i] = byte(i)
	}
	for i := range b.o.PVs {
		subject := Subject(SamplesPrefix, schema.PVName(fmt.Sprintf("BENCH:PV%06d", i)))
		b.wire = append(b.wire, outgoing{subject: subject, data: payload})
	}
	return b.log.archive.Reset(ctx)
}

func (b *bench) run(ctx context.Context) (r BenchResult, err error) {
	if r.Publish, err = b.measure(func() error { return b.publish(ctx) }); err != nil {
		return r, err
	}
	if r.Consume, err = b.measure(func() error { return b.consume(ctx) }); err != nil {
		return r, err
	}
	r.Both, err = b.measure(func() error {
		published := make(chan error, 1)
		go func() { published <- b.publish(ctx) }()
		err := b.consume(ctx)
		if failed := <-published; failed != nil {
			return failed
		}
		return err
	})
	return r, err
}

// measure times one phase.
func (b *bench) measure(phase func() error) (BenchPhase, error) {
	cpu, start := cpuTime(), time.Now()
	err := phase()
	return BenchPhase{Messages: b.o.Messages, Elapsed: time.Since(start), CPU: cpuTime() - cpu}, err
}

// publish stores the messages, the subjects in turn.
func (b *bench) publish(ctx context.Context) error {
	per := max(1, min(batchMessages, batchBytes/b.o.Payload, len(b.wire)))
	for sent, at := 0, 0; sent < b.o.Messages; {
		if at+per > len(b.wire) {
			at = 0
		}
		n := min(per, b.o.Messages-sent)
		if _, err := b.batcher.send(ctx, b.wire[at:at+n]); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		sent, at = sent+n, at+n
	}
	return nil
}

// consume fetches as many messages and acknowledges each fetch.
func (b *bench) consume(ctx context.Context) error {
	c := b.log.archive
	for got := 0; got < b.o.Messages; {
		raw, err := c.request(ctx, time.Second)
		if err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
		if got += len(raw); len(raw) == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			continue
		}
		at, err := parseReply(raw[len(raw)-1].Reply)
		if err != nil {
			return err
		}
		c.deliveries.add(at)
		if err := c.Ack(ctx, at.stream); err != nil {
			return err
		}
	}
	return nil
}

// cpuTime is what this process has used, user and system.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
