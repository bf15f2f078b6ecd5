package web

import (
	"math"
	"strconv"
	"time"

	"pvlog/schema"
)

// settingsJSON is how a PV is archived. The names are those of a request.
type settingsJSON struct {
	Method        schema.SamplingMethod `json:"method"`
	Period        float64               `json:"period"` // seconds
	Policy        string                `json:"policy"`
	ControllingPV schema.PVName         `json:"controlling_pv"`
	Fields        []string              `json:"fields"`
	Stores        []string              `json:"stores"` // empty: the configured ones
	Deadband      float64               `json:"deadband"`
	Drift         driftJSON             `json:"drift"`
	Rate          rateJSON              `json:"rate"`
}

// rateJSON is what the PV may have per second; 0: as configured for all.
type rateJSON struct {
	Events uint32 `json:"events"`
	Bytes  uint64 `json:"bytes"`
}

// driftJSON is the drift windows in seconds; 0: as configured for all.
type driftJSON struct {
	Past   float64 `json:"past"`
	Future float64 `json:"future"`
}

func settingsOf(s schema.Settings) *settingsJSON {
	return &settingsJSON{
		Method: s.SamplingMethod, Period: s.SamplingPeriod.Seconds(), Policy: s.Policy, ControllingPV: s.ControllingPV,
		Fields: list(s.ArchiveFields), Stores: list(s.Stores), Deadband: s.Deadband,
		Drift: driftJSON{s.DriftPast.Seconds(), s.DriftFuture.Seconds()}, Rate: rateJSON{s.RateEvents, s.RateBytes},
	}
}

// list is a list that is [] in JSON when it is empty.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// pvJSON is a PV of the registry. Of an alias, only what is common to both is
// known.
type pvJSON struct {
	PV       schema.PVName   `json:"pv"`
	State    schema.State    `json:"state"`
	AliasOf  schema.PVName   `json:"alias_of,omitempty"`
	Aliases  []schema.PVName `json:"aliases,omitempty"`
	Type     string          `json:"type,omitempty"` // absent: it never connected
	Elements int             `json:"element_count,omitempty"`
	*settingsJSON
	AskedPolicy    string                `json:"asked_policy,omitempty"`
	SkipAliasCheck bool                  `json:"skip_alias_check,omitempty"`
	Host           string                `json:"host,omitempty"`
	Units          string                `json:"units,omitempty"`
	Precision      *int                  `json:"precision,omitempty"`
	Limits         map[string]jsonNumber `json:"limits,omitempty"`
	ExtraFields    map[string]string     `json:"extra_fields,omitempty"`
	Created        *time.Time            `json:"created,omitempty"`
	Modified       *time.Time            `json:"modified,omitempty"`
	Expires        *time.Time            `json:"expires,omitempty"`
	Generation     uint64                `json:"generation,omitempty"`
	Seq            uint64                `json:"seq,omitempty"` // registry sequence: the ETag
	Channel        *channelJSON          `json:"channel,omitempty"`
	Storage        *storageJSON          `json:"storage,omitempty"`
}

// jsonNumber is a float that is null in JSON when it is none.
type jsonNumber float64

// MarshalJSON writes NaN and infinities, which JSON does not have, as null.
func (n jsonNumber) MarshalJSON() ([]byte, error) {
	if v := float64(n); math.IsNaN(v) || math.IsInf(v, 0) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(n), 'g', -1, 64), nil
}

// channelJSON is what the engine knows of a PV's channel.
type channelJSON struct {
	State          string       `json:"state,omitempty"`
	Connected      bool         `json:"connected"`
	Host           string       `json:"host,omitempty"`
	LastEvent      *time.Time   `json:"last_event"` // null: never
	FirstConnected *time.Time   `json:"first_connected"`
	LastConnected  *time.Time   `json:"last_connected"`
	LastLost       *time.Time   `json:"last_lost"`
	FirstEvent     *time.Time   `json:"first_event"`
	EventRate      float64      `json:"event_rate"` // per second
	ByteRate       float64      `json:"byte_rate"`
	Observed       string       `json:"observed_type,omitempty"` // newest type that was not the registered one
	Counters       countersJSON `json:"counters"`
}

// countersJSON is what a channel has counted since pvlog was started.
type countersJSON struct {
	Received      uint64 `json:"received"`       // updates that held a value
	Logged        uint64 `json:"logged"`         // samples that the log took
	OverflowDrops uint64 `json:"overflow_drops"` // samples that the log had no room for
	Errors        uint64 `json:"errors"`         // updates without a value, failed gets
	Losses        int64  `json:"losses"`         // of the connection
}

// storageJSON is what the archive has done for a PV since it was registered: what
// the log took is stored, a duplicate or a drop, or still on its way.
type storageJSON struct {
	Stored     uint64            `json:"stored"`     // samples made durable in files
	Duplicates uint64            `json:"duplicates"` // samples that were there already
	Last       *time.Time        `json:"last"`       // stamp of the newest sample; null: not known
	Path       string            `json:"path"`       // of the newest partition, "": nothing was written yet
	Drops      map[string]uint64 `json:"drops"`      // samples in the drop log by reason
	ChunkKey   string            `json:"chunk_key"`  // the PV's path below the root of each store
}

func (s *Server) pvJSON(info *schema.TypeInfo) pvJSON {
	p := registeredJSON(info)
	if info.State == schema.Alias {
		return p
	}
	p.Aliases = s.options.Registry.AliasesOf(info.PV)
	if c, ok := s.options.Channels(info.PV); ok {
		p.Channel = channelOf(c)
	}
	if a, ok := s.options.Archived(info.PV); ok {
		p.Storage = &storageJSON{Stored: a.Stored, Duplicates: a.Duplicate, Last: timeJSON(a.Last), Path: a.Path, Drops: a.Drops, ChunkKey: info.ChunkKey}
		if a.Drops == nil {
			p.Storage.Drops = map[string]uint64{}
		}
	}
	return p
}

func channelOf(c ChannelStatus) *channelJSON {
	out := &channelJSON{State: c.State, Connected: c.Connected, Host: c.Host, LastEvent: timeJSON(c.LastEvent), FirstEvent: timeJSON(c.First),
		FirstConnected: timeJSON(c.FirstConnected), LastConnected: timeJSON(c.LastConnected), LastLost: timeJSON(c.LostAt),
		EventRate: c.EventRate, ByteRate: c.ByteRate,
		Counters: countersJSON{Received: c.Received, Logged: c.Appended, OverflowDrops: c.OverflowDrops, Errors: c.Errors, Losses: c.Losses}}
	if c.Observed.Valid() && c.Observed != c.Type {
		out.Observed = c.Observed.String()
	}
	return out
}

// registeredJSON is what the registry alone knows, now or at a time past.
func registeredJSON(info *schema.TypeInfo) pvJSON {
	p := pvJSON{PV: info.PV, State: info.State, AliasOf: info.AliasOf, Created: timeJSON(info.Created), Modified: timeJSON(info.Modified),
		Generation: info.Generation, Seq: info.Sequence}
	if info.State == schema.Alias {
		return p
	}
	p.settingsJSON = settingsOf(info.Settings)
	p.AskedPolicy, p.SkipAliasCheck, p.Expires = info.AskedPolicy, info.SkipAliasCheck, timeJSON(info.Expires)
	if info.DBRType == schema.UnknownType {
		return p
	}
	p.Type, p.Elements, p.Host, p.Units, p.Precision = info.DBRType.String(), info.ElementCount, info.Host, info.Units, &info.Precision
	p.ExtraFields = info.Fields
	if len(info.Limits) > 0 {
		p.Limits = make(map[string]jsonNumber, len(info.Limits))
	}
	for name, v := range info.Limits {
		p.Limits[name] = jsonNumber(v)
	}
	return p
}

// timeJSON is a time in UTC, nil for none.
func timeJSON(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
