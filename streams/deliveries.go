package streams

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"
)

// deliveries remembers what acknowledges each delivered message: 16 bytes a
// message, for up to a million of them.
type deliveries struct {
	prefix string // of the acknowledgement subjects: $JS.ACK...<consumer>.
	list   []delivery
}

// delivery is the pair of numbers that an acknowledgement names.
type delivery struct {
	stream   uint64 // sequence in the stream
	consumer uint64 // count of deliveries
}

// stamp is what the reply subject of a delivered message tells.
type stamp struct {
	prefix string
	delivery
	time time.Time
}

// parseReply reads $JS.ACK.[domain.account.]stream.consumer.deliveries.
// stream-sequence.consumer-sequence.time.pending[.more].
func parseReply(reply string) (stamp, error) {
	at := 4
	if strings.Count(reply, ".") >= 10 {
		at = 6
	}
	prefix, rest := cutTokens(reply, at)
	_, rest = cutTokens(rest, 1)
	var n [3]uint64
	for i := range n {
		token, after := cutTokens(rest, 1)
		v, err := strconv.ParseUint(strings.TrimSuffix(token, "."), 10, 63)
		if err != nil || after == "" || !strings.HasPrefix(prefix, "$JS.ACK.") {
			return stamp{}, fmt.Errorf("delivery with reply %.100q", reply)
		}
		n[i], rest = v, after
	}
	return stamp{prefix: prefix, delivery: delivery{stream: n[0], consumer: n[1]}, time: time.Unix(0, int64(n[2]))}, nil
}

// cutTokens splits a subject behind its first n tokens and their dots; all of
// it is before if it has fewer.
func cutTokens(subject string, n int) (before, after string) {
	end := 0
	for range n {
		i := strings.IndexByte(subject[end:], '.')
		if i < 0 {
			return subject, ""
		}
		end += i + 1
	}
	return subject[:end], subject[end:]
}

func (d *deliveries) reset() { d.list = d.list[:0] }

func (d *deliveries) add(s stamp) {
	if d.prefix != s.prefix {
		d.prefix = strings.Clone(s.prefix)
	}
	d.list = append(d.list, s.delivery)
}

// upTo gives the acknowledgement of the newest delivery up to seq.
func (d *deliveries) upTo(seq uint64) (reply string, newest uint64, ok bool) {
	i := sort.Search(len(d.list), func(i int) bool { return d.list[i].stream > seq })
	if i == 0 {
		return "", 0, false
	}
	last := d.list[i-1]
	return fmt.Sprintf("%s1.%d.%d.%d.0", d.prefix, last.stream, last.consumer, time.Now().UnixNano()), last.stream, true
}

// forget drops what is acknowledged.
func (d *deliveries) forget(seq uint64) {
	i := sort.Search(len(d.list), func(i int) bool { return d.list[i].stream > seq })
	d.list = d.list[:copy(d.list, d.list[i:])]
}
