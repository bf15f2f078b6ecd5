package ca

// Sizes of a splitter's buffer: it begins small because most circuits are
// quiet, and grows as far as a burst or one large message needs.
const (
	firstBuffer = 8 << 10
	burstBuffer = 64 << 10
	largeBuffer = 1 << 20 // above this it is given back after largeReads reads that did not need it
	largeReads  = 1000
)

// Splitter cuts the byte stream of a circuit into messages. It holds as many
// bytes as arrived, never as many as a header promises. The zero value is
// ready. It is not safe for concurrent use.
type Splitter struct {
	// Limit is the largest payload that is kept; 0 is [MaxPayload].
	Limit uint32

	buf        []byte
	start, end int    // bytes of buf that are not yet cut
	skip       uint64 // bytes to come that belong to a message above Limit
	roomy      int    // reads in a row that left most of a large buffer empty
}

// Buffer is where the next bytes of the stream are to be read to. It ends the
// life of all payloads that [Splitter.Next] gave.
func (s *Splitter) Buffer() []byte {
	if s.start > 0 {
		s.end = copy(s.buf, s.buf[s.start:s.end])
		s.start = 0
	}
	if s.end == 0 && s.roomy > largeReads {
		s.buf, s.roomy = make([]byte, burstBuffer), 0
	}
	if s.end == len(s.buf) {
		grown := make([]byte, max(firstBuffer, 2*len(s.buf)))
		copy(grown, s.buf[:s.end])
		s.buf = grown
	}
	return s.buf[s.end:]
}

// Filled says that n bytes were read into [Splitter.Buffer].
func (s *Splitter) Filled(n int) {
	if s.end == 0 && n == len(s.buf) && n < burstBuffer {
		// A read that fills the buffer has more behind it: fewer, larger reads.
		grown := make([]byte, 2*n)
		copy(grown, s.buf)
		s.buf = grown
	}
	s.end += n
	if s.roomy++; len(s.buf) <= largeBuffer || s.end > len(s.buf)/4 {
		s.roomy = 0
	}
}

// Next gives the next message, and ok false when more bytes are needed. The
// payload is valid until the next [Splitter.Buffer]. A message whose payload
// is above Limit comes with tooLarge and no payload: its bytes are passed
// over as they arrive, so that one monstrous waveform does not cost the other
// channels of the circuit. After an error the stream cannot be read further.
func (s *Splitter) Next() (h Header, payload []byte, tooLarge, ok bool, err error) {
	s.pass()
	h, n, err := ParseHeader(s.buf[s.start:s.end])
	if err != nil || n == 0 {
		return h, nil, false, false, err
	}
	if h.PayloadSize > s.limit() {
		s.start += n
		s.skip = uint64(h.PayloadSize)
		s.pass()
		return h, nil, true, true, nil
	}
	end := s.start + n + int(h.PayloadSize)
	if end > s.end {
		return h, nil, false, false, nil
	}
	payload = s.buf[s.start+n : end : end]
	s.start = end
	return h, payload, false, true, nil
}

func (s *Splitter) limit() uint32 {
	if s.Limit == 0 {
		return MaxPayload
	}
	return s.Limit
}

// pass drops bytes of a message that is too large.
func (s *Splitter) pass() {
	n := min(s.skip, uint64(s.end-s.start))
	s.skip -= n
	s.start += int(n)
}
