package retrieval

import (
	"sort"

	"pvlog/schema"
)

// tailSource gives the archive's samples that are not in a file yet.
type tailSource struct {
	samples []Sample // strictly increasing in time
}

// newTailSource takes the tail as it is now, without what cannot be served.
func newTailSource(s *Stream) *tailSource {
	typ, lines := s.retrieval.tail(s.query.PV)
	t := &tailSource{samples: make([]Sample, 0, len(lines))}
	for _, line := range lines {
		event, err := schema.ScanEvent(line.Event)
		if err != nil {
			s.skipped.add(skippedLine, fault{path: "the tail", err: err})
			continue
		}
		at := event.Time(line.Year)
		if n := len(t.samples); n > 0 && !at.After(t.samples[n-1].Time) {
			s.skipped.add(skippedOrder, fault{path: "the tail"})
			continue
		}
		t.samples = append(t.samples, Sample{Type: typ, Year: line.Year, Time: at, Event: line.Event})
	}
	return t
}

func (t *tailSource) start(from schema.Time) error {
	after := sort.Search(len(t.samples), func(i int) bool { return t.samples[i].Time.After(from) })
	t.samples = t.samples[max(after-1, 0):]
	return nil
}

func (t *tailSource) head() *Sample {
	if len(t.samples) == 0 {
		return nil
	}
	return &t.samples[0]
}

func (t *tailSource) advance() error {
	t.samples = t.samples[1:]
	return nil
}

func (t *tailSource) close() {}
