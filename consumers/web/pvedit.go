package web

import (
	"errors"
	"math"
	"net/http"
	"strings"
	"time"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// settingsEdit are the settings that a request states. Those it does not state
// stay, and null is the default.
type settingsEdit struct {
	Method        optional[string]     `json:"method"`
	Period        optional[float64]    `json:"period"` // seconds
	Policy        optional[string]     `json:"policy"`
	ControllingPV optional[string]     `json:"controlling_pv"`
	Fields        optional[[]string]   `json:"fields"`
	Stores        optional[[]string]   `json:"stores"`
	Deadband      optional[float64]    `json:"deadband"`
	Drift         optional[driftBlock] `json:"drift"`
	Rate          optional[rateBlock]  `json:"rate"`
}

var settingsNames = []string{"method", "period", "policy", "controlling_pv", "fields", "stores", "deadband", "drift", "rate"}

// driftBlock are drift windows in seconds.
type driftBlock struct {
	Past   optional[float64] `json:"past"`
	Future optional[float64] `json:"future"`
}

// UnmarshalJSON refuses members that are not known.
func (d *driftBlock) UnmarshalJSON(b []byte) error {
	type plain driftBlock
	return members(b, (*plain)(d), "past", "future")
}

// rateBlock is what the PV may have per second: whole numbers.
type rateBlock struct {
	Events optional[float64] `json:"events"`
	Bytes  optional[float64] `json:"bytes"`
}

// UnmarshalJSON refuses members that are not known.
func (r *rateBlock) UnmarshalJSON(b []byte) error {
	type plain rateBlock
	return members(b, (*plain)(r), "events", "bytes")
}

// empty reports whether nothing is stated.
func (e *settingsEdit) empty() bool {
	return !e.Method.given && !e.Period.given && !e.Policy.given && !e.ControllingPV.given &&
		!e.Fields.given && !e.Stores.given && !e.Deadband.given && !e.Drift.given && !e.Rate.given
}

// or fills what e does not state from other.
func (e settingsEdit) or(other settingsEdit) settingsEdit {
	fill(&e.Method, other.Method)
	fill(&e.Period, other.Period)
	fill(&e.Policy, other.Policy)
	fill(&e.ControllingPV, other.ControllingPV)
	fill(&e.Fields, other.Fields)
	fill(&e.Stores, other.Stores)
	fill(&e.Deadband, other.Deadband)
	fill(&e.Drift, other.Drift)
	fill(&e.Rate, other.Rate)
	return e
}

func fill[T any](o *optional[T], other optional[T]) {
	if !o.given {
		*o = other
	}
}

// defaultPeriod is the period of a PV for which none is stated.
const defaultPeriod = time.Second

// apply changes settings to what is stated; the registry checks the rest.
func (e *settingsEdit) apply(s *schema.Settings) error {
	if e.Method.given {
		method, err := schema.ParseSamplingMethod(e.Method.value)
		if err != nil {
			return refuse(schema.Invalid, `use one of "MONITOR", "SCAN", "SCAN_GET"`, "%v", err)
		}
		s.SamplingMethod = method
	}
	if e.Period.given {
		period, err := seconds("period", e.Period.value)
		if err != nil {
			return err
		}
		s.SamplingPeriod = or(period, defaultPeriod)
	}
	if e.Policy.given {
		s.Policy = e.Policy.value
	}
	if e.ControllingPV.given {
		s.ControllingPV = ""
		if name := e.ControllingPV.value; name != "" {
			pv, err := schema.ParsePVName(name)
			if err != nil {
				return refuse(schema.Invalid, "name a PV, or null for always", "controlling_pv: %v", err)
			}
			s.ControllingPV = pv
		}
	}
	if e.Fields.given {
		s.ArchiveFields = e.Fields.value
	}
	if e.Stores.given {
		s.Stores = e.Stores.value
	}
	if e.Deadband.given {
		s.Deadband = e.Deadband.value
	}
	if err := e.applyRate(s); err != nil {
		return err
	}
	return e.applyDrift(s)
}

// applyRate takes what is stated of either bound; null for both is the default.
func (e *settingsEdit) applyRate(s *schema.Settings) error {
	if !e.Rate.given {
		return nil
	}
	events, bytes := e.Rate.value.Events, e.Rate.value.Bytes
	if events.given || !bytes.given {
		n, err := perSecond("rate.events", events.value, math.MaxUint32)
		if err != nil {
			return err
		}
		s.RateEvents = uint32(n)
	}
	if bytes.given || !events.given {
		n, err := perSecond("rate.bytes", bytes.value, 1<<50)
		if err != nil {
			return err
		}
		s.RateBytes = n
	}
	return nil
}

// perSecond reads a whole number.
func perSecond(name string, value, most float64) (uint64, error) {
	if !(value >= 0 && value <= most) || value != math.Trunc(value) {
		return 0, refuse(schema.Invalid, "0 stands for what is configured for all", "%s: %v is not a whole number from 0 to %.0f", name, value, most)
	}
	return uint64(value), nil
}

func (e *settingsEdit) applyDrift(s *schema.Settings) (err error) {
	if !e.Drift.given {
		return nil
	}
	past, future := e.Drift.value.Past, e.Drift.value.Future
	if past.given || !future.given {
		if s.DriftPast, err = seconds("drift.past", past.value); err != nil {
			return err
		}
	}
	if future.given || !past.given {
		s.DriftFuture, err = seconds("drift.future", future.value)
	}
	return err
}

// maxSeconds bounds what a duration can hold.
const maxSeconds = 200 * 366 * 86400

// seconds reads a span of time; the registry knows its bounds.
func seconds(name string, v float64) (time.Duration, error) {
	if math.IsNaN(v) || v < 0 || v > maxSeconds {
		return 0, refuse(schema.Invalid, "give seconds, such as 1.5", "%s: %v is no number of seconds", name, v)
	}
	return time.Duration(math.Round(v * float64(time.Second))), nil
}

// editPV changes some settings of one PV. With If-Match it is refused when the
// PV is not as the client saw it.
func (s *Server) editPV(w http.ResponseWriter, r *http.Request) error {
	values, err := parameters(r, "reason")
	if err != nil {
		return err
	}
	expect, err := ifMatch(r)
	if err != nil {
		return err
	}
	found, err := s.foundPV(r)
	if err != nil {
		return err
	}
	var edit settingsEdit
	if err := readJSON(r, &edit, settingsNames...); err != nil {
		return err
	}
	pv := found.Info.PV
	ctx, done := s.commandContext(r)
	defer done()
	result := s.options.Registry.Configure(ctx, apiActor(r, values.Get("reason")), registry.Edit{PV: pv, Change: edit.apply, Expect: expect})[0]
	if errors.Is(result.Err, registry.ErrChanged) {
		return (&refusal{err: result.Err}).as(http.StatusPreconditionFailed)
	}
	if result.Err != nil {
		return result.Err
	}
	info, ok := s.options.Registry.Get(pv)
	if !ok {
		return unknownPV(pv) // deleted by somebody else since
	}
	s.writePV(w, http.StatusOK, info)
	return nil
}

// apiActor says who sent a request: what stands beside "claimed by" was only
// said by the client, as the token does not tell people apart.
func apiActor(r *http.Request, reason string) registry.Actor {
	name, _, _ := r.BasicAuth()
	if claimed := strings.TrimSpace(r.Header.Get("Pvlog-Actor")); claimed != "" {
		name = "claimed by " + claimed
	}
	return registry.Actor{Name: or(name, "http"), Source: r.RemoteAddr, Reason: reason}
}
