package web

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// order is one entry of an archivePV request.
type order struct {
	request registry.Request
	alias   schema.PVName // a further name for the PV; ""
	note    string        // what was taken otherwise than asked; ""
}

// archivePV asks the registry to archive PVs and answers an array in the order
// of the request. A single PV that cannot be archived is an error; of several,
// those that can be are, and the array says which could not.
func (s *Server) archivePV(w http.ResponseWriter, r *http.Request) error {
	l, err := readListing(r)
	if err != nil {
		return err
	}
	if len(l.entries) == 0 {
		return missingPV()
	}
	targets := make([]target, len(l.entries))
	orders := make([]order, len(l.entries))
	requests := make(map[schema.PVName]registry.Request)
	for i, e := range l.entries {
		o, err := s.orderOf(e.or(l))
		pv := o.request.PV
		targets[i], orders[i] = target{asked: string(e.PV), pv: pv, err: err}, o
		if err != nil {
			continue
		}
		if first, twice := requests[pv]; twice { // its fields count, its parameters do not
			first.ArchiveFields = append(first.ArchiveFields, o.request.ArchiveFields...)
			o.request = first
		}
		requests[pv] = o.request
	}
	run(r, l, targets, func(ctx context.Context, actor registry.Actor, pvs ...schema.PVName) []registry.Result {
		return s.archive(ctx, actor, pvs, requests)
	})
	s.nameOrders(r, l, targets, orders)
	status := sharedStatus(targets)
	if len(targets) == 1 && (status != http.StatusOK || clash(targets[0].err)) {
		return targets[0].err
	}
	writeJSON(w, status, s.archiveAnswer(r, targets, orders))
	return nil
}

// archive requests PVs. A field that is asked for beside a PV which is
// registered already is archived from now on, as in the Appliance.
func (s *Server) archive(ctx context.Context, actor registry.Actor, pvs []schema.PVName, requests map[schema.PVName]registry.Request) []registry.Result {
	list := make([]registry.Request, len(pvs))
	for i, pv := range pvs {
		list[i] = requests[pv]
	}
	results := s.admit(ctx, actor, list...)
	var edits []registry.Edit
	var places []int // of their results
	for i, result := range results {
		if fields := list[i].ArchiveFields; errors.Is(result.Err, registry.ErrAlready) && len(fields) > 0 {
			edits, places = append(edits, registry.Edit{PV: result.PV, Change: addFields(fields)}), append(places, i)
		}
	}
	if len(edits) == 0 {
		return results
	}
	for i, result := range s.options.Registry.Configure(ctx, actor, edits...) {
		if result.Err != nil {
			results[places[i]].Err = result.Err
		}
	}
	return results
}

func addFields(fields []string) func(*schema.Settings) error {
	return func(set *schema.Settings) error {
		set.ArchiveFields = append(set.ArchiveFields, fields...)
		return nil
	}
}

// nameOrders gives PVs that are archived the aliases that were asked for. The
// order's note tells of one that could not be given.
func (s *Server) nameOrders(r *http.Request, l listing, targets []target, orders []order) {
	var aliases []registry.Alias
	var places []int
	for i, o := range orders {
		if err := targets[i].err; o.alias != "" && (err == nil || errors.Is(err, registry.ErrAlready)) {
			aliases, places = append(aliases, registry.Alias{Alias: o.alias, PV: s.realName(targets[i].pv)}), append(places, i)
		}
	}
	if len(aliases) == 0 {
		return
	}
	for i, result := range s.options.Registry.AddAlias(r.Context(), actorOf(r, l), aliases...) {
		if result.Err != nil && !errors.Is(result.Err, registry.ErrAlready) {
			orders[places[i]].note = "the alias was not added: " + s.validation(r, target{pv: aliases[i].Alias, err: result.Err})
		}
	}
}

// clash reports whether a PV cannot be archived because of another one.
func clash(err error) bool {
	return schema.CodeOf(err) == schema.Conflict && !errors.Is(err, registry.ErrAlready)
}

func (s *Server) archiveAnswer(r *http.Request, targets []target, orders []order) []map[string]any {
	items := make([]map[string]any, len(targets))
	for i, t := range targets {
		item := map[string]any{"pvName": t.asked, "status": "Archive request submitted"}
		switch {
		case errors.Is(t.err, registry.ErrAlready):
			item["status"] = "Already submitted"
		case t.err != nil:
			item["status"] = "Exception occured" // as the Appliance spells it
			item["validation"] = s.validation(r, t)
		}
		if orders[i].note != "" && item["validation"] == nil {
			item["validation"] = orders[i].note
		}
		items[i] = item
	}
	return items
}

// or fills what an entry does not say from the parameters of the URL.
func (e entry) or(l listing) entry {
	e.SamplingPeriod = or(e.SamplingPeriod, text(l.values.Get("samplingperiod")))
	e.SamplingMethod = or(e.SamplingMethod, text(l.values.Get("samplingmethod")))
	e.ControllingPV = or(e.ControllingPV, text(l.values.Get("controllingPV")))
	e.Policy = or(e.Policy, text(l.values.Get("policy")))
	e.Alias = or(e.Alias, text(l.values.Get("alias")))
	e.Appliance = or(e.Appliance, text(l.values.Get("appliance")))
	e.TimeLimit = or(e.TimeLimit, text(l.values.Get("timelimit")))
	return e
}

func (s *Server) orderOf(e entry) (o order, err error) {
	if isGlob(string(e.PV)) {
		return o, refuse(schema.Invalid, "name each PV", "PV %q: archivePV takes names, not patterns", string(e.PV))
	}
	q := &o.request
	if q.PV, err = schema.ParsePVName(string(e.PV)); err != nil {
		return o, err
	}
	if field := q.PV.Field(); slices.Contains(s.options.StreamFields(), field) {
		q.PV, q.ArchiveFields = schema.PVName(q.PV.Record()), []string{field}
	}
	q.AskedSampling = e.SamplingMethod != "" || e.SamplingPeriod != ""
	if q.SamplingMethod, err = schema.ParseSamplingMethod(string(e.SamplingMethod)); err != nil {
		return o, err
	}
	if q.SamplingPeriod, err = parsePeriod(string(e.SamplingPeriod)); err != nil {
		return o, err
	}
	if q.SamplingPeriod > 0 && q.SamplingPeriod < registry.MinPeriod { // as the Appliance does
		o.note = fmt.Sprintf("the sampling period was raised from %v to the shortest, %v", q.SamplingPeriod, registry.MinPeriod)
		q.SamplingPeriod = registry.MinPeriod
	}
	if q.ControllingPV, err = optionalName(e.ControllingPV); err != nil {
		return o, err
	}
	if o.alias, err = optionalName(e.Alias); err != nil {
		return o, err
	}
	if e.Appliance != "" && string(e.Appliance) != s.options.Identity {
		return o, refuse(schema.Invalid, "leave appliance out", "PV %s: there is no appliance %q, this one is %q and alone", q.PV, string(e.Appliance), s.options.Identity)
	}
	q.AskedPolicy = string(e.Policy)
	q.Expires, err = s.expiry(string(e.TimeLimit))
	return o, err
}

// optionalName reads a PV name; "" is none.
func optionalName(t text) (schema.PVName, error) {
	if t == "" {
		return "", nil
	}
	return schema.ParsePVName(string(t))
}

// parsePeriod reads seconds; "" is 0, for which the registry has a default.
func parsePeriod(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(seconds) || seconds <= 0 || seconds > registry.MaxPeriod.Seconds() {
		return 0, refuse(schema.Invalid, "give seconds, such as samplingperiod=1.0", "samplingperiod=%q is not a number of seconds between 0 and %v", text, registry.MaxPeriod.Seconds())
	}
	return max(time.Duration(math.Round(seconds*float64(time.Second))), 1), nil
}

// maxLimit bounds how long a request may wait for its IOC: ten years.
const maxLimit = 10 * 366 * 24 * time.Hour

// expiry is when a request is given up that waits for its IOC since now: after
// some seconds, never for 0, as the server is set up for "".
func (s *Server) expiry(text string) (time.Time, error) {
	limit := s.options.TimeLimit
	if text != "" {
		seconds, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds > maxLimit.Seconds() {
			return time.Time{}, refuse(schema.Invalid, "give seconds, or 0 to wait for ever", "timelimit=%q is not a number of seconds between 0 and %v", text, maxLimit.Seconds())
		}
		limit = time.Duration(seconds * float64(time.Second))
	}
	if limit <= 0 {
		return time.Time{}, nil
	}
	return time.Now().Add(limit), nil
}
