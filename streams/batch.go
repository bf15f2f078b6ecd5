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
)

// outgoing is one message on its way to a stream.
type outgoing struct {
	subject string
	header  nats.Header // may be nil
	data    []byte
}

// Errors of a batch beside those that the server names.
var (
	errBatchLost = errors.New("the server has forgotten the batch")
	errNoStream  = errors.New("no stream answers: JetStream is not running")
	errConnLost  = errors.New("the connection to the server was lost")
)

// pingAfter is how long a batch may go unanswered before the server is asked
// whether it still knows it.
const pingAfter = 2 * time.Second

// batcher publishes batches by JetStream's fast-ingest protocol: the reply
// subject <inbox>.<id>.<flow>.<gap mode>.<sequence>.<operation>.$FI carries the
// message's place in its batch; a batch is stored in order and ends at the
// first message that is not ("fail"); the last message commits it and is
// answered with the number stored. It belongs to one goroutine.
//
// It is used in place of jetstreamext.FastPublisher, which tells what is stored
// only at the next Add, waits 5 s for a refused message, and reports nothing
// when a batch has died of idleness: here each batch is committed at once and
// none is ever idle.
type batcher struct {
	s       *session
	sub     *nats.Subscription
	answers chan *nats.Msg
	id      int      // of the present batch; the same again after a clean end
	prefix  string   // of its answers
	replies []string // reply subjects of appended messages by index
	commits []string // reply subjects of last messages by index
}

// The operations of the protocol.
const (
	opStart  = "0"
	opAppend = "1"
	opCommit = "2"
	opPing   = "4"
)

func newBatcher(s *session, name string) (*batcher, error) {
	b := &batcher{s: s, answers: make(chan *nats.Msg, 1024)}
	inbox := s.inbox + "." + name
	sub, err := s.nc.ChanSubscribe(inbox+".>", b.answers)
	if err != nil {
		return nil, fmt.Errorf("listen for acknowledgements: %w", err)
	}
	b.sub, b.prefix = sub, inbox
	b.begin(inbox, 1)
	return b, nil
}

func (b *batcher) close() { _ = b.sub.Unsubscribe() }

// begin gives the next batches a new identity, so that late answers to an old
// one are not taken for theirs.
func (b *batcher) begin(inbox string, id int) {
	b.id = id
	b.prefix = inbox + "." + strconv.Itoa(id) + "."
	b.replies, b.commits = b.replies[:0], b.commits[:0]
}

func (b *batcher) renew() {
	inbox := strings.TrimSuffix(b.prefix, "."+strconv.Itoa(b.id)+".")
	b.begin(inbox, b.id+1)
}

func (b *batcher) reply(i int, op string) string {
	return b.prefix + "500.fail." + strconv.Itoa(i+1) + "." + op + ".$FI"
}

// replyFor gives the reply subject of message i of n, made once per identity.
func (b *batcher) replyFor(i, n int) string {
	for len(b.replies) < n {
		op := opAppend
		if len(b.replies) == 0 {
			op = opStart
		}
		b.replies = append(b.replies, b.reply(len(b.replies), op))
		b.commits = append(b.commits, "")
	}
	if i < n-1 {
		return b.replies[i]
	}
	if b.commits[i] == "" {
		b.commits[i] = b.reply(i, opCommit)
	}
	return b.commits[i]
}

// send stores messages in order and reports how many are stored for certain.
// With an error more of them may be stored: sending the rest again, in order,
// is safe for samples and drops.
func (b *batcher) send(ctx context.Context, messages []outgoing) (int, error) {
	b.drain()
	for i, m := range messages {
		err := b.s.nc.PublishMsg(&nats.Msg{Subject: m.subject, Reply: b.replyFor(i, len(messages)), Header: m.header, Data: m.data})
		if err != nil {
			b.renew()
			return 0, fmt.Errorf("send message %d of %d: %w", i+1, len(messages), err)
		}
	}
	stored, err := b.wait(ctx, messages)
	if err != nil || stored != len(messages) {
		b.renew()
	}
	if err == nil && stored != len(messages) {
		err = fmt.Errorf("%d of %d messages were stored", stored, len(messages))
	}
	return min(stored, len(messages)), err
}

// drain forgets answers to earlier batches.
func (b *batcher) drain() {
	for {
		select {
		case <-b.answers:
		default:
			return
		}
	}
}

// wait reads answers until the one that ends the batch.
func (b *batcher) wait(ctx context.Context, messages []outgoing) (int, error) {
	ping := time.NewTimer(pingAfter)
	defer ping.Stop()
	var cause error
	for pinged := false; ; {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-b.s.done:
			return 0, errConnLost
		case <-ping.C:
			pinged = true
			if err := b.s.nc.PublishRequest(messages[0].subject, b.reply(len(messages)-1, opPing), nil); err != nil {
				return 0, fmt.Errorf("ask for the batch: %w", err)
			}
			ping.Reset(pingAfter)
		case m := <-b.answers:
			if !strings.HasPrefix(m.Subject, b.prefix) {
				continue
			}
			a, err := parseAnswer(m)
			switch {
			case err != nil:
				return 0, err
			case a.Type == "err":
				cause = a.err() // what is stored follows
			case a.Type == "gap":
				cause = errBatchLost
			case a.Type == "ack":
				// The answer to a ping follows that to the commit in the
				// server's queue: no commit arrived.
				if pinged && strings.HasSuffix(m.Subject, "."+opPing+".$FI") {
					return 0, errBatchLost
				}
			case a.Error != nil:
				return 0, errors.Join(cause, a.err())
			default:
				return a.Count, cause
			}
		}
	}
}

// answer is any of the server's answers to a fast batch.
type answer struct {
	Type   string              `json:"type"` // "ack", "gap", "err"; none: the batch has ended
	Stream string              `json:"stream"`
	Count  int                 `json:"count"` // messages of the batch that are stored
	Error  *jetstream.APIError `json:"error"`
}

func (a answer) err() error {
	if a.Error == nil {
		return errors.New("the server refused a message")
	}
	return a.Error
}

func parseAnswer(m *nats.Msg) (answer, error) {
	var a answer
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return a, errNoStream
	}
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return a, fmt.Errorf("read acknowledgement %.100q: %w", m.Data, err)
	}
	return a, nil
}

// isFull reports whether err says that a limit of the stream or the server is
// reached: a new server would not help.
func isFull(err error) bool {
	if errors.Is(err, errNearlyFull) {
		return true
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return false
	}
	switch api.ErrorCode {
	case 10047, 10023, 10002, 10028:
		return true
	case 10077:
		return strings.Contains(api.Description, "maximum")
	}
	return false
}
