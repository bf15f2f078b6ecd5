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
		Drift: driftJSON{s.DriftPast.Seconds(), s.DriftFuture.Seconds()},
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
	State          string     `json:"state,omitempty"`
	Connected      bool       `json:"connected"`
	Host           string     `json:"host,omitempty"`
	LastEvent      *time.Time `json:"last_event"` // null: never
	FirstConnected *time.Time `json:"first_connected"`
	LastConnected  *time.Time `json:"last_connected"`
	Losses         int64      `json:"losses"`
	EventRate      float64    `json:"event_rate"` // per second
	ByteRate       float64    `json:"byte_rate"`
}

func (s *Server) pvJSON(info *schema.TypeInfo) pvJSON {
	p := registeredJSON(info)
	if info.State == schema.Alias {
		return p
	}
	p.Aliases = s.options.Registry.AliasesOf(info.PV)
	if c, ok := s.options.Channels(info.PV); ok {
		p.Channel = &channelJSON{State: c.State, Connected: c.Connected, Host: c.Host, LastEvent: timeJSON(c.LastEvent),
			FirstConnected: timeJSON(c.FirstConnected), LastConnected: timeJSON(c.LastConnected), Losses: c.Losses,
			EventRate: c.EventRate, ByteRate: c.ByteRate}
	}
	return p
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
