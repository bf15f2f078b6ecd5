package ingest

import (
	"time"

	"pvlog/schema"
)

// Connection is the state of a channel's connection, in the words of reports
// (S5).
type Connection string

// The states of a connection.
const (
	Idle         Connection = "Idle"         // never tried
	Connecting   Connection = "Connecting"   // waiting for the first time
	Connected    Connection = "Connected"    // updates may come
	Disconnected Connection = "Disconnected" // was connected, is not
)

// connections is all of them in the order of a channel's life.
var connections = [...]Connection{Idle, Connecting, Connected, Disconnected}

// ChannelState is what is known of a running channel at one moment (S6).
// Times are zero while there is none.
type ChannelState struct {
	PV         schema.PVName
	Connection Connection
	Opened     time.Time // when the search for it began
	Since      time.Time // first connect, kept over losses
	Restored   time.Time // newest connect after a loss
	LastEvent  time.Time // receive time of the newest update, cleared by a loss
	Host       string    // address of the IOC, kept over losses; "" until it connected
	Minor      uint16    // CA minor version of the IOC
	Type       schema.DBRType
	Count      int  // largest number of elements; 0 until it connected
	Subscribed bool // false while connected: its type is being registered
	Method     schema.SamplingMethod
	Period     time.Duration
	EventRate  float64       // updates per second that held a value
	ByteRate   float64       // bytes of samples per second that went to the log
	Measured   time.Duration // the time that both rates were measured over: the last one to two minutes, less after a start
	Gate       Gate
	Counters
}

// Gate is what a controlling PV says of the PVs that it controls: while its
// value is 0 they have no channel. Unlike the Appliance, which leaves them as
// they are then, pvlog archives until a 0 was seen: nobody can bring back what
// was not archived for want of an answer. A loss of the controlling PV's
// connection changes nothing.
type Gate struct {
	PV        schema.PVName // "": the PV is controlled by none, and the rest means nothing
	Connected bool
	Known     bool      // a value was seen
	Value     string    // newest
	Open      bool      // the PV is archived
	Since     time.Time // when Open last changed, or its search began
}

// Counters count over the life of a registered PV, pauses included (S7, S8).
// Times are zero and Observed is [schema.UnknownType] while there is none.
type Counters struct {
	Received        uint64         // updates that held a value
	Appended        uint64         // samples that the log took
	OverflowWaits   uint64         // samples that had to wait for room in the log
	OverflowDrops   uint64         // samples that the log had no room for until the channel ended
	TransientErrors uint64         // updates without a value, failed gets and registrations
	Disconnects     uint64         // losses of the connection
	Bytes           uint64         // of the samples that the log took
	Suppressed      uint64         // updates within the deadband
	First           time.Time      // receive time of the first update
	LastDisconnect  time.Time      // whole seconds
	Observed        schema.DBRType // newest type that was not the registered one
}

// Counts are the numbers of running channels, and of the PVs whose channel a
// controlling PV has closed.
type Counts struct {
	Total, Idle, Connecting, Connected, Disconnected int
	Gated                                            int
}

func (n *Counts) add(c Connection) {
	n.Total++
	switch c {
	case Idle:
		n.Idle++
	case Connecting:
		n.Connecting++
	case Connected:
		n.Connected++
	case Disconnected:
		n.Disconnected++
	}
}

func (n *Counts) of(c Connection) int {
	switch c {
	case Idle:
		return n.Idle
	case Connecting:
		return n.Connecting
	case Connected:
		return n.Connected
	}
	return n.Disconnected
}
