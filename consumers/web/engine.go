package web

import (
	"time"

	"pvlog/schema"
)

// Channels gives the state of a PV's channel, false if the engine has none. It
// is asked for every PV of a report, so it does no I/O.
type Channels func(pv schema.PVName) (ChannelStatus, bool)

// ChannelStatus is what the engine knows of a PV's channel. Zero times mean
// never, zero rates that none is known.
type ChannelStatus struct {
	State          string    // the engine's word: Connecting, Connected ...
	Connected      bool      // a circuit holds the channel
	Subscribed     bool      // updates may come
	Host           string    // address of the IOC
	LastEvent      time.Time // when the newest update came
	LastFlush      time.Time // when samples last went to a file
	FirstConnected time.Time
	LastConnected  time.Time // reconnected: after a loss only
	LostAt         time.Time // newest loss of the connection
	First          time.Time // when the first update came
	Losses         int64     // connections lost
	EventRate      float64   // updates per second
	ByteRate       float64   // bytes of samples per second
	Type           schema.DBRType
	Count          int            // largest number of elements
	Observed       schema.DBRType // newest type that was not the registered one
	Received       uint64         // updates that held a value
	Appended       uint64         // samples that the log took
	OverflowDrops  uint64         // samples that the log had no room for
	Errors         uint64         // updates without a value, failed gets
	Gated          bool           // kept without a channel by its controlling PV
	Gate           string         // what the controlling PV says, in words; "" if there is none
}

// Archived is what the archive has done for a PV since it was registered.
type Archived struct {
	Stored    uint64            // samples made durable in files
	Duplicate uint64            // samples that were there already
	Drops     map[string]uint64 // samples in the drop log by reason
	Last      time.Time         // stamp of the newest sample on disk or in memory; zero: not known
	Path      string            // of the newest partition, "" before the first flush
}

// Engine is what the appliance as a whole does at the moment.
type Engine struct {
	Connected, Connecting, Disconnected int // channels by the state of their connection
	Total                               int // channels, those that were never tried included
	Gated                               int // PVs that their controlling PV keeps without a channel, not in Total
	CAChannels                          int // channels of Channel Access, those of fields included
	Searching                           int // CAChannels whose IOC is searched for

	WaitingSamples int           // received, not yet in the log
	Rounds         uint64        // flush rounds of the archive since the start
	RoundSeconds   float64       // all rounds together
	Took           time.Duration // of the newest round
	Every          time.Duration // time from round to round
	Files          uint64        // appends to partitions since the start
	Stored         uint64        // samples made durable since the start
}

// Space is the file system below a store.
type Space struct {
	Store       string // STS, MTS, LTS
	Free, Total int64  // bytes; what an ordinary user may still write, and its size
}

// Parts is what the parts of a running archiver tell this package, which
// may not import them. A nil function is a part that is not there: then
// nothing is known.
type Parts struct {
	Archived   func(pv schema.PVName) (Archived, bool)
	Fields     func(pv schema.PVName) []schema.FieldValue // newest values of the archived fields
	Engine     func() Engine
	Spaces     func() []Space // of the stores in their order
	Policies   Policies
	Properties map[string]string // getApplianceProperties; names as the Appliance's
}

// withDefaults fills what is not there.
func (a Parts) withDefaults() Parts {
	if a.Archived == nil {
		a.Archived = func(schema.PVName) (Archived, bool) { return Archived{}, false }
	}
	if a.Fields == nil {
		a.Fields = func(schema.PVName) []schema.FieldValue { return nil }
	}
	if a.Engine == nil {
		a.Engine = func() Engine { return Engine{} }
	}
	if a.Spaces == nil {
		a.Spaces = func() []Space { return nil }
	}
	return a
}
