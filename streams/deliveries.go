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
	tokens := strings.Split(reply, ".")
	at := 4
	if len(tokens) >= 11 {
		at = 6
	}
	if len(tokens) < 9 || tokens[0] != "$JS" || tokens[1] != "ACK" {
		return stamp{}, fmt.Errorf("delivery with reply %.100q", reply)
	}
	var n [3]uint64
	for i := range n {
		v, err := strconv.ParseUint(tokens[at+1+i], 10, 63)
		if err != nil {
			return stamp{}, fmt.Errorf("delivery with reply %.100q: %w", reply, err)
		}
		n[i] = v
	}
	end := 0
	for _, t := range tokens[:at] {
		end += len(t) + 1
	}
	return stamp{prefix: reply[:end], delivery: delivery{stream: n[0], consumer: n[1]}, time: time.Unix(0, int64(n[2]))}, nil
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
