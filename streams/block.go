package streams

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"
	"time"

	"github.com/minio/highwayhash"

	"pvlog/schema"
)

// A block file of the server is a row of records, least significant byte first:
//
//	length(4) sequence(8) time(8) subject length(2) subject [header length(4) header] payload hash(8)
//
// with hasHeader set in the length if there is a header (nats-server,
// server/filestore.go, writeMsgRecordLocked). The hash is keyed by stream and
// block and covers neither of the three lengths, so those are checked by what
// they must lead to.
const (
	recordHead = 22
	recordHash = 8
	recordMost = 32 << 20

	hasHeader = 1 << 31 // in the length
	erased    = 1 << 63 // in the sequence: the message was deleted
	tombstone = 1 << 62 // in the sequence: says that another was deleted
)

// record is one of a block, checked.
type record struct {
	size int
	seq  uint64 // without flags
	none bool   // it holds no message: a tombstone, or what was one
	time int64  // Unix nanoseconds
}

// span is a row of sequences that follow each other, with the times of its ends.
type span struct {
	From, To    uint64
	first, last int64
}

// torn is a part of a block that holds no valid record.
type torn struct {
	offset, end int
	after       uint64          // sequence of the last valid message before it in the block, 0: none
	before      uint64          // of the first one after it, 0: none
	names       []schema.PVName // whose subjects stand in it; they may be damaged
}

// block is what a scan finds in a block file.
type block struct {
	index int
	path  string
	size  int
	held  []span // in order
	torn  []torn
	good  [][2]int // offsets of valid records, joined
}

func blockHash(stream string, index int) hash.Hash64 {
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", stream, index))
	h, err := highwayhash.New64(key[:])
	if err != nil {
		panic(err) // only for a key that is not of 32 bytes
	}
	return h
}

// readRecord checks the record at the begin of b. It allocates nothing for what
// lengths promise.
func readRecord(b []byte, prefix string, h hash.Hash64) (record, bool) {
	if len(b) < recordHead+recordHash {
		return record{}, false
	}
	length := binary.LittleEndian.Uint32(b)
	headed := length&hasHeader != 0
	size := int(length &^ hasHeader)
	subject := int(binary.LittleEndian.Uint16(b[20:]))
	if size < recordHead+recordHash || size > len(b) || size > recordMost || recordHead+subject+recordHash > size {
		return record{}, false
	}
	seq := binary.LittleEndian.Uint64(b[4:])
	r := record{size: size, seq: seq &^ (erased | tombstone), time: int64(binary.LittleEndian.Uint64(b[12:]))}
	r.none = seq&(erased|tombstone) != 0 || seq == 0
	body := b[recordHead : size-recordHash]
	if !r.none && !ourSubject(body[:subject], prefix) {
		return record{}, false
	}
	h.Reset()
	_, _ = h.Write(b[4:20])
	_, _ = h.Write(body[:subject])
	body = body[subject:]
	if headed {
		if len(body) < 4 || !wholeHeader(body[4:], binary.LittleEndian.Uint32(body)) && !r.none {
			return record{}, false
		}
		body = body[4:]
	}
	_, _ = h.Write(body)
	var sum [recordHash]byte
	return r, bytes.Equal(h.Sum(sum[:0]), b[size-recordHash:size])
}

func ourSubject(subject []byte, prefix string) bool {
	return len(subject) > len(prefix) && subject[len(prefix)] == '.' && string(subject[:len(prefix)]) == prefix
}

// wholeHeader reports whether a header of n bytes begins b, and not a part of one.
func wholeHeader(b []byte, n uint32) bool {
	if uint64(n) > uint64(len(b)) {
		return false
	}
	head, end := []byte("NATS/1.0"), []byte("\r\n\r\n")
	return bytes.HasPrefix(b, head) && bytes.Index(b[:n], end) == int(n)-len(end)
}

// scanBlock finds all valid records of a block, also behind damage.
func scanBlock(stream string, index int, b []byte) block {
	prefix := prefixOf(stream)
	h := blockHash(stream, index)
	found := block{index: index, size: len(b)}
	for at := 0; at < len(b); {
		r, ok := readRecord(b[at:], prefix, h)
		if ok {
			found.add(r, at)
			at += r.size
			continue
		}
		next := nextRecord(b, at+1, prefix, h)
		found.torn = append(found.torn, torn{offset: at, end: next, after: found.last(), names: namesIn(b[at:next], prefix)})
		at = next
	}
	return found
}

// nextRecord is the offset of the first message's record at or behind from,
// len(b) if there is none. Whether a message begins somewhere is told by its
// subject before the hash, so that garbage is passed over quickly.
func nextRecord(b []byte, from int, prefix string, h hash.Hash64) int {
	for at := from + recordHead; at < len(b); at++ {
		i := bytes.Index(b[at:], []byte(prefix+"."))
		if i < 0 {
			break
		}
		at += i
		if _, ok := readRecord(b[at-recordHead:], prefix, h); ok {
			return at - recordHead
		}
	}
	return len(b)
}

// namesIn are the PVs whose subjects can be read in damaged bytes.
func namesIn(b []byte, prefix string) []schema.PVName {
	var names []schema.PVName
	for at := recordHead; at < len(b); at++ {
		i := bytes.Index(b[at:], []byte(prefix+"."))
		if i < 0 {
			break
		}
		at += i
		length := int(binary.LittleEndian.Uint16(b[at-2:]))
		if length > len(b)-at {
			continue
		}
		pv, err := subjectPV(string(b[at : at+length]))
		if err == nil && !slices.Contains(names, pv) {
			names = append(names, pv)
		}
	}
	return names
}

// subjectPV is the PV of a subject of any of our streams.
func subjectPV(subject string) (schema.PVName, error) {
	_, pv, err := ParseSubject(subject)
	return pv, err
}

func (b *block) add(r record, at int) {
	if n := len(b.good); n > 0 && b.good[n-1][1] == at {
		b.good[n-1][1] = at + r.size
	} else {
		b.good = append(b.good, [2]int{at, at + r.size})
	}
	if r.none {
		return
	}
	for i := len(b.torn) - 1; i >= 0 && b.torn[i].before == 0; i-- {
		b.torn[i].before = r.seq
	}
	b.held = appendSpan(b.held, span{From: r.seq, To: r.seq, first: r.time, last: r.time})
}

// last is the sequence of the last message found, 0 if there is none yet.
func (b *block) last() uint64 {
	if len(b.held) == 0 {
		return 0
	}
	return b.held[len(b.held)-1].To
}

// appendSpan adds a span behind others, joined to the last if it follows it.
// What does not lead on is passed over, as the server does.
func appendSpan(spans []span, s span) []span {
	n := len(spans)
	switch {
	case n == 0 || s.From > spans[n-1].To+1:
		return append(spans, s)
	case s.To <= spans[n-1].To:
		return spans
	}
	spans[n-1].To, spans[n-1].last = s.To, s.last
	return spans
}

// mended is the block without what is damaged.
func (b *block) mended(content []byte) []byte {
	var out []byte
	for _, g := range b.good {
		out = append(out, content[g[0]:g[1]]...)
	}
	return out
}

// appendTombstone makes a record that says that the message is gone. Alone in a
// block it keeps its sequence from being used again.
func appendTombstone(b []byte, stream string, index int, seq uint64, at time.Time) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, recordHead+recordHash)
	b = binary.LittleEndian.AppendUint64(b, seq|tombstone)
	b = binary.LittleEndian.AppendUint64(b, uint64(at.UnixNano()))
	b = binary.LittleEndian.AppendUint16(b, 0)
	h := blockHash(stream, index)
	_, _ = h.Write(b[start+4 : start+20])
	return h.Sum(b)
}

func prefixOf(stream string) string {
	switch stream {
	case RegistryStream:
		return RegistryPrefix
	case DropsStream:
		return DropsPrefix
	}
	return SamplesPrefix
}
