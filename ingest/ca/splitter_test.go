package ca

import (
	"bytes"
	"errors"
	"testing"
)

// split feeds a stream in pieces and gives the messages that came out.
func split(s *Splitter, stream []byte, piece int) (messages []Header, payloads [][]byte, err error) {
	for len(stream) > 0 {
		n := copy(s.Buffer(), stream[:min(piece, len(stream))])
		s.Filled(n)
		stream = stream[n:]
		for {
			h, payload, _, ok, err := s.Next()
			if err != nil {
				return messages, payloads, err
			}
			if !ok {
				break
			}
			messages = append(messages, h)
			payloads = append(payloads, bytes.Clone(payload))
		}
	}
	return messages, payloads, nil
}

func TestSplitterCutsHoweverTheBytesArrive(t *testing.T) {
	large := bytes.Repeat([]byte("abcdefgh"), 40_000)
	var stream []byte
	stream = AppendVersion(stream)
	stream = AppendMessage(stream, Header{Command: CmdEventAdd, DataType: 20, Count: 40_000, P2: 1}, large)
	stream = AppendEcho(stream, MinorVersion)
	stream = AppendMessage(stream, Header{Command: CmdEventAdd, DataType: 20, Count: 1, P2: 2}, large[:24])
	for _, piece := range []int{1, 7, 16, 4096, 1 << 20} {
		var s Splitter
		messages, payloads, err := split(&s, stream, piece)
		if err != nil || len(messages) != 4 {
			t.Fatalf("pieces of %d: %d messages, %v", piece, len(messages), err)
		}
		if !bytes.Equal(payloads[1], large) || !bytes.Equal(payloads[3], large[:24]) {
			t.Errorf("pieces of %d: a payload changed", piece)
		}
	}
}

// TestSplitterPassesOverMonsters: the message after one that is too large
// arrives.
func TestSplitterPassesOverMonsters(t *testing.T) {
	stream := AppendMessage(nil, Header{Command: CmdEventAdd, P2: 1}, make([]byte, 100_000))
	stream = AppendEcho(stream, MinorVersion)
	for _, piece := range []int{1, 1000, 1 << 20} {
		s := Splitter{Limit: 50_000}
		messages, payloads, err := split(&s, stream, piece)
		if err != nil || len(messages) != 2 || messages[0].PayloadSize != 100_000 || len(payloads[0]) != 0 || messages[1].Command != CmdEcho {
			t.Errorf("pieces of %d: got %+v, %v", piece, messages, err)
		}
	}
}

func TestSplitterBelievesBytesNotHeaders(t *testing.T) {
	var s Splitter
	stream := AppendHeader(nil, Header{Command: CmdEventAdd, PayloadSize: MaxPayload, Count: 1 << 31})
	if _, _, err := split(&s, append(stream, make([]byte, 1000)...), 64); err != nil {
		t.Fatal(err)
	}
	if len(s.buf) > 64<<10 {
		t.Errorf("%d bytes were allocated for 1000 that arrived", len(s.buf))
	}
}

func TestSplitterGivesALargeBufferBack(t *testing.T) {
	var s Splitter
	large := AppendMessage(nil, Header{Command: CmdEventAdd}, make([]byte, 4<<20))
	if messages, _, err := split(&s, large, 1<<20); err != nil || len(messages) != 1 {
		t.Fatalf("got %d messages, %v", len(messages), err)
	}
	if len(s.buf) < 4<<20 {
		t.Fatalf("a buffer of %d bytes held 4 MiB", len(s.buf))
	}
	for range largeReads + 2 {
		if messages, _, err := split(&s, AppendEcho(nil, MinorVersion), 16); err != nil || len(messages) != 1 {
			t.Fatalf("got %d messages, %v", len(messages), err)
		}
	}
	if len(s.buf) > largeBuffer {
		t.Errorf("%d bytes are kept for messages of 16", len(s.buf))
	}
}

func TestSplitterEndsAtUnalignedPayloads(t *testing.T) {
	var s Splitter
	if _, _, err := split(&s, AppendHeader(nil, Header{Command: CmdEventAdd, PayloadSize: 12}), 100); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkCircuitUpdates(b *testing.B) {
	c, id := subscribed(b, DBRDouble, 1)
	payload, _ := encodeTime(b, DBRTimeDouble, []float64{1})
	var stream []byte
	for range 500 {
		stream = AppendMessage(stream, Header{Command: CmdEventAdd, DataType: uint16(DBRTimeDouble), Count: 1, P1: StatusNormal, P2: id}, payload)
	}
	b.ReportAllocs()
	var s Splitter
	for b.Loop() {
		for rest := stream; len(rest) > 0; {
			n := copy(s.Buffer(), rest)
			s.Filled(n)
			rest = rest[n:]
			for {
				h, p, tooLarge, ok, err := s.Next()
				if err != nil {
					b.Fatal(err)
				}
				if !ok {
					break
				}
				if e := c.Handle(h, p, tooLarge); e.Kind != EventUpdate {
					b.Fatal(e)
				}
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/update")
}
