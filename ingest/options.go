package ingest

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/ingest/caclient"
	"pvlog/schema"
	"pvlog/schema/logpb"
)

// Defaults of [Options].
const (
	DefaultDrift = 30 * time.Minute // the Appliance's server_ioc_drift_seconds
	DefaultDrain = 5 * time.Second
	DefaultMask  = 6 // LOG|ALARM: the deadband meant for archiving
)

// Options is what an [Engine] works with. Client, Append, Follow, Initial and
// Started are needed, the rest has defaults.
type Options struct {
	// Client finds the IOCs. Its Run must go on until the engine's has returned.
	Client *caclient.Client

	// Append hands a sample to the log (streams.SampleLog.Append). It copies
	// the event, blocks while the log is full, and fails only when its context
	// ends or the log is closed.
	Append func(ctx context.Context, pv schema.PVName, s schema.RawSample) error

	// Follow gives the registry's events from sequence from on, in order and
	// one at a time, until its context ends (streams.EventLog.Follow). When it
	// fails it is called again, from the event that is needed next.
	Follow func(ctx context.Context, from uint64, apply func(seq uint64, e *logpb.RegistryEvent, caughtUp bool) error) error

	// Initial gives the registry's state and the sequence of the newest event
	// that it holds. The engine does not change the infos.
	Initial func() (infos []*schema.TypeInfo, cursor uint64)

	// Started records what was found when PVs connected for the first time, at
	// most 1,000 at once. What Follow does not confirm is handed in again.
	Started func(ctx context.Context, found []Discovery) error

	// Known gives what the registry knows of a PV at the moment. nil: nothing.
	Known func(pv schema.PVName) (*schema.TypeInfo, bool)

	// DriftPast and DriftFuture are how far from its receive time a sample may
	// lie before the archive drops it. Whole seconds; 0: 30 minutes.
	DriftPast, DriftFuture time.Duration

	// RateEvents and RateBytes are how many events and bytes of events a PV may
	// have per second, in the mean over 10 s. What is beyond is marked as such,
	// and goes to the drop log. 0: any number.
	RateEvents uint32
	RateBytes  uint64

	// Mask selects the events that IOCs send: 1 VALUE, 2 LOG, 4 ALARM. 0: 6.
	Mask uint16

	// NoProperties asks IOCs for no events of units, limits and labels; they
	// are read once then, when a PV connects for the first time.
	NoProperties bool

	// Drain is how long the end of Run waits for samples that the log has no
	// room for yet, before they are counted as dropped. 0: 5 s.
	Drain time.Duration

	// CountersFile keeps the PVs' counters over a restart; written every 10 s
	// and at the end. "": they begin at 0.
	CountersFile string

	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: metrics are kept but not offered
}

func (o Options) withDefaults() Options {
	if o.DriftPast == 0 {
		o.DriftPast = DefaultDrift
	}
	if o.DriftFuture == 0 {
		o.DriftFuture = DefaultDrift
	}
	if o.Known == nil {
		o.Known = func(schema.PVName) (*schema.TypeInfo, bool) { return nil, false }
	}
	if o.Mask == 0 {
		o.Mask = DefaultMask
	}
	if o.Drain == 0 {
		o.Drain = DefaultDrain
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Discovery is what a PV's first connection told: the content of the registry
// event PVStarted. Without Host it tells the properties of a PV that is known.
type Discovery struct {
	PV        schema.PVName
	Type      schema.DBRType     // waveform if the channel's element count is not 1
	Count     int                // largest number of elements
	Host      string             // address of the IOC, host:port
	Units     string             // "" if the IOC did not say
	Precision int                // digits after the point
	Limits    map[string]float64 // LOPR HOPR LOLO LOW HIGH HIHI DRVL DRVH, as far as known; may be NaN
	Fields    map[string]string  // RTYP, MDEL, ADEL, SCAN, DESC, ENUM_0 and so on, as far as known

	// RealName is the PV's name by its record, which the same IOC serves too,
	// if it is another one than PV; else "". A PV that was never archived is to
	// be archived under it, with PV as an alias.
	RealName schema.PVName
}
