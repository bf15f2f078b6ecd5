package streams

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pvlog/schema"
)

// pullRequest asks the server for messages. With NoWait and Expires it answers
// as soon as it has any, and with none when the time is over.
type pullRequest struct {
	Batch    int           `json:"batch"`
	MaxBytes int           `json:"max_bytes"`
	NoWait   bool          `json:"no_wait"`
	Expires  time.Duration `json:"expires,omitempty"`
}

// slack is how much longer than its request a fetch waits for the answer.
const slack = 5 * time.Second

// request pulls once.
func (c *Consumer) request(ctx context.Context, wait time.Duration) ([]*nats.Msg, error) {
	body, err := json.Marshal(pullRequest{Batch: fetchMessages, MaxBytes: fetchBytes, NoWait: true, Expires: max(wait, 0)})
	if err != nil {
		return nil, err
	}
	c.requests++
	reply := strings.TrimSuffix(c.sub.Subject, "*") + strconv.Itoa(c.requests)
	subject := "$JS.API.CONSUMER.MSG.NEXT." + SamplesStream + "." + ArchiveName
	if err := c.session.nc.PublishRequest(subject, reply, body); err != nil {
		return nil, err
	}
	until, cancel := context.WithTimeout(ctx, max(wait, 0)+slack)
	defer cancel()
	raw := c.raw[:0]
	defer func() { c.raw = raw }()
	for len(raw) < fetchMessages {
		m, err := c.next(ctx, until)
		if err != nil {
			return nil, err
		}
		if m.Subject == reply { // a status: nothing more comes of this request
			return raw, endOf(m)
		}
		if m.Reply == "" { // a status of an earlier request, which was filled
			continue
		}
		raw = append(raw, m)
	}
	return raw, nil
}

// next waits for a delivery, the session's end or ctx.
func (c *Consumer) next(ctx, until context.Context) (*nats.Msg, error) {
	m, err := c.sub.NextMsgWithContext(until)
	if err == nil {
		return m, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, errors.New("the server did not answer")
	}
	return nil, err
}

// endOf reads a status message: 404 and 408 say that nothing more is there, 409
// that the bytes are used up.
func endOf(m *nats.Msg) error {
	status, text := m.Header.Get("Status"), m.Header.Get("Description")
	switch {
	case status == "404", status == "408":
		return nil
	case status == "409" && strings.Contains(text, "MaxBytes"):
		return nil
	case status == "503":
		return errNoStream
	}
	return fmt.Errorf("the server ended the request: %s %s", status, text)
}

// checkStart makes sure that the first message after a reset is the one after
// the floor or the stream's first: a newer one before it would make samples
// late. A message that is gone from the stream's middle is told and counted.
func (c *Consumer) checkStart(ctx context.Context, raw []*nats.Msg) error {
	if !c.expect || len(raw) == 0 {
		return nil
	}
	first, err := parseReply(raw[0].Reply)
	if err != nil {
		return err
	}
	c.expect = false
	if first.stream <= c.last+1 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	stream, err := c.session.js.Stream(ctx, SamplesStream)
	if err != nil {
		return fmt.Errorf("check the first message after a reset: %w", err)
	}
	start := stream.CachedInfo().State.FirstSeq
	if start >= first.stream {
		return nil
	}
	for seq := max(start, c.last+1); seq < first.stream; seq++ {
		if _, err := stream.GetMsg(ctx, seq); err == nil {
			return fmt.Errorf("after a reset to %d the server delivered %d before %d", c.last, first.stream, seq)
		} else if !errors.Is(err, jetstream.ErrMsgNotFound) {
			return fmt.Errorf("check the first message after a reset: %w", err)
		}
	}
	return nil
}

// spareSamples is how many samples' room is kept from one fetch to the next.
const spareSamples = 1 << 18

// recycle lets go of what the last fetch gave and keeps the room that it took.
func (c *Consumer) recycle() {
	clear(c.raw)
	clear(c.messages)
	clear(c.samples)
	c.raw, c.messages, c.samples = c.raw[:0], c.messages[:0], c.samples[:0]
	if cap(c.samples) > spareSamples {
		c.samples = nil
	}
}

// decode turns deliveries into messages, joining parts.
func (c *Consumer) decode(raw []*nats.Msg) ([]Message, error) {
	messages, samples := c.messages, c.samples
	defer func() { c.messages, c.samples = messages, samples }()
	for _, r := range raw {
		at, err := parseReply(r.Reply)
		if err == nil && at.stream <= c.last {
			err = fmt.Errorf("the server delivered message %d after %d", at.stream, c.last)
		}
		if err != nil {
			c.mustReset = true
			return messages, fmt.Errorf("fetch samples: %w", err)
		}
		if gap := at.stream - c.last - 1; gap > 0 && c.begun {
			c.log.metrics.holes.Add(float64(gap))
			c.log.log.Error("messages are missing in the middle of the log", "from", c.last+1, "to", at.stream-1)
		}
		c.last, c.begun = at.stream, true
		c.deliveries.add(at)
		m := Message{First: at.stream, Seq: at.stream, Time: at.time, Redelivered: at.stream <= c.seen, Raw: r.Data}
		var complete bool
		if samples, complete = c.read(&m, r.Subject, samples); complete {
			messages = append(messages, m)
		}
	}
	c.log.metrics.fetched.Add(float64(len(messages)))
	return messages, nil
}

// read fills in what the message holds; it reports false for a part whose set
// is not complete yet.
func (c *Consumer) read(m *Message, subject string, samples []schema.RawSample) ([]schema.RawSample, bool) {
	_, m.PV, m.Err = ParseSubject(subject)
	if m.Err != nil {
		m.Err = fmt.Errorf("%w: %w", schema.ErrDamaged, m.Err)
	}
	start := len(samples)
	all, part, err := schema.DecodeSampleMessage(m.Raw, samples)
	switch {
	case m.Err != nil:
	case err != nil:
		m.Err = err
	case part != nil:
		return samples, c.join(m, part)
	}
	c.abandon(c.set.reset())
	if m.Err != nil {
		c.log.metrics.damaged.Inc()
		return samples, true
	}
	m.Samples = all[start:len(all):len(all)]
	return all, true
}
