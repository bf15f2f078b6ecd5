// Package retrieval answers "this PV, from, to" out of the partition files of
// all stores and the archive's samples that are not in a file yet.
//
// It promises that a [Stream] gives strictly increasing times, begins with the
// newest sample at or before the start, ends with the last at or before the
// end, and needs the same memory for a minute and for a year: partitions are
// opened one after the other. A line that cannot be read is skipped and
// counted, never served; a file that was moved while it was asked for is found
// again. It reads only, and holds no lock against whoever writes.
//
// It is driven by web, which writes a stream in one of the [Formats].
package retrieval

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// Store is a tier of partition files as retrieval needs to know it.
type Store struct {
	Name        string                // STS, MTS, LTS
	Root        string                // folder that holds the chunk keys
	Granularity partition.Granularity // how much time one file spans
}

// TailLine is a sample that the archive holds in memory and not yet in a file.
type TailLine struct {
	Year  int    // UTC year that Event counts its seconds from
	Event []byte // EPICSEvent message, not escaped; retrieval does not change it
}

// Tail gives the samples of a PV that are not in a file yet, oldest first, and
// their type. The lines must stay as they are after it returned.
type Tail func(pv schema.PVName) (schema.DBRType, []TailLine)

// Options says where the samples are.
type Options struct {
	Stores     []Store               // in the order of preference when two hold one instant
	Tail       Tail                  // default: no tail
	Logger     *slog.Logger          // default: none
	Registerer prometheus.Registerer // default: none
}

// Retrieval reads samples back. It is safe for concurrent use.
type Retrieval struct {
	// set by New, read-only
	stores      []Store
	tail        Tail
	logger      *slog.Logger
	metrics     *metrics
	consumption *consumption
}

// New prepares a Retrieval; it does no I/O.
func New(o Options) *Retrieval {
	if o.Tail == nil {
		o.Tail = func(schema.PVName) (schema.DBRType, []TailLine) { return schema.UnknownType, nil }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Retrieval{stores: o.Stores, tail: o.Tail, logger: o.Logger, metrics: newMetrics(o.Registerer), consumption: newConsumption()}
}

// Stores are the stores it reads, as given to New.
func (r *Retrieval) Stores() []Store { return r.stores }

// Query asks for the samples of one PV.
type Query struct {
	PV   schema.PVName
	Key  string    // path below a store's root; default: schema.ChunkKey(PV)
	From time.Time // the answer begins with the newest sample at or before it, else the first after
	To   time.Time // the last sample is at or before it

	// Field asks for the values of a field that is archived with the samples,
	// one for each sample that carries it, instead of the PV's own.
	Field string
	// Unwritten asks for what is not in a file yet only.
	Unwritten bool
}

// Sample is one sample of a stream. Its slices are valid until the next call
// of [Stream.Next].
type Sample struct {
	Type  schema.DBRType
	Year  int // UTC year that Event counts its seconds from
	Time  schema.Time
	Event []byte // EPICSEvent message
	Line  []byte // Event escaped as it stands in its file; nil if it is not in a file yet
}

// errMoved says that a listed file was gone when its turn came.
var errMoved = errors.New("a partition was moved while it was read")

// Open begins to answer a query. The error has code Invalid if the range makes
// no sense. The caller closes the stream.
func (r *Retrieval) Open(q Query) (*Stream, error) {
	if q.To.Before(q.From) {
		return nil, schema.Errorf(schema.Invalid, "the end %s lies before the start %s",
			q.To.Format(time.RFC3339Nano), q.From.Format(time.RFC3339Nano))
	}
	if q.Key == "" {
		q.Key = schema.ChunkKey(q.PV)
	}
	s := &Stream{retrieval: r, query: q, from: schema.TimeOf(q.From), to: schema.TimeOf(q.To)}
	if err := s.begin(); err != nil {
		s.closeSources()
		return nil, fmt.Errorf("open %s: %w", q.PV, err)
	}
	r.metrics.streams.Inc()
	return s, nil
}
