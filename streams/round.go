package streams

import "time"

// A round is published in batches of at most this size: its messages stay in
// memory until the batch is acknowledged, and the server's queue holds 10,000
// messages.
const (
	batchMessages = 1000
	batchBytes    = 8 << 20
)

// Buffers up to this size are kept for reuse, this many of them.
const (
	spareBytes = 4 << 10
	spareCount = 4 * batchMessages
)

// take moves one message of each of the first ready PVs, up to limit PVs and a
// batch, into batch. A PV with more stands again at the end of the list, so no
// PV delays another by more than one message. It gives how many PVs it served.
func (s *SampleLog) take(batch []message, limit int) ([]message, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	served, size := 0, 0
	for served < limit && served < len(s.ready) && len(batch) < batchMessages && size < batchBytes {
		q := s.ready[served]
		m := q.messages[0]
		size += len(m.data)
		batch = append(batch, m)
		served++
		rest := copy(q.messages, q.messages[1:])
		q.messages[rest] = message{}
		q.messages = q.messages[:rest]
		if q.ready = rest > 0; q.ready {
			s.ready = append(s.ready, q)
		}
	}
	s.ready = s.ready[:copy(s.ready, s.ready[served:])]
	if len(batch) > 0 {
		s.flight = batch[0].since
	}
	return batch, served
}

// readyPVs is how many PVs have something waiting.
func (s *SampleLog) readyPVs() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ready)
}

// pressed reports whether so much waits that no pause should be made.
func (s *SampleLog) pressed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes > s.log.opt.WaitingBytes/2
}

// done lets go of a batch that the log has acknowledged.
func (s *SampleLog) done(batch []message) {
	s.mu.Lock()
	for i := range batch {
		m := &batch[i]
		s.waiting -= int64(m.samples)
		s.sentSamples += uint64(m.samples)
		s.sentMessages++
		s.bytes -= m.size
		s.metrics.published.Add(float64(m.samples))
		s.metrics.samplesPerMessage.Observe(float64(m.samples))
		if cap(m.data) <= spareBytes && len(s.spare) < spareCount {
			s.spare = append(s.spare, m.data)
		}
		*m = message{}
	}
	s.flight = time.Time{}
	room := s.room
	s.room = make(chan struct{})
	s.mu.Unlock()
	close(room)
}
