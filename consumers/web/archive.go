package web

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

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
	requests := make(map[schema.PVName]registry.Request)
	for i, e := range l.entries {
		request, err := requestOf(e.or(l))
		targets[i] = target{asked: string(e.PV), pv: request.PV, err: err}
		if _, twice := requests[request.PV]; err == nil && !twice {
			requests[request.PV] = request
		}
	}
	run(r, l, targets, func(ctx context.Context, actor registry.Actor, pvs ...schema.PVName) []registry.Result {
		list := make([]registry.Request, len(pvs))
		for i, pv := range pvs {
			list[i] = requests[pv]
		}
		return s.options.Registry.Archive(ctx, actor, list...)
	})
	status := sharedStatus(targets)
	if len(targets) == 1 && (status != http.StatusOK || clash(targets[0].err)) {
		return targets[0].err
	}
	writeJSON(w, status, s.archiveAnswer(r, targets))
	return nil
}

// clash reports whether a PV cannot be archived because of another one.
func clash(err error) bool {
	return schema.CodeOf(err) == schema.Conflict && !errors.Is(err, registry.ErrAlready)
}

func (s *Server) archiveAnswer(r *http.Request, targets []target) []map[string]any {
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
	return e
}

func requestOf(e entry) (request registry.Request, err error) {
	if isGlob(string(e.PV)) {
		return request, refuse(schema.Invalid, "name each PV", "PV %q: archivePV takes names, not patterns", string(e.PV))
	}
	if e.Alias != "" {
		return request, refuse(schema.Invalid, "leave alias out", "PV %s: this version of pvlog has no aliases", string(e.PV))
	}
	if request.PV, err = schema.ParsePVName(string(e.PV)); err != nil {
		return request, err
	}
	request.AskedSampling = e.SamplingMethod != "" || e.SamplingPeriod != ""
	if request.SamplingMethod, err = schema.ParseSamplingMethod(string(e.SamplingMethod)); err != nil {
		return request, err
	}
	if request.SamplingPeriod, err = parsePeriod(string(e.SamplingPeriod)); err != nil {
		return request, err
	}
	if e.ControllingPV != "" {
		if request.ControllingPV, err = schema.ParsePVName(string(e.ControllingPV)); err != nil {
			return request, err
		}
	}
	request.AskedPolicy = string(e.Policy)
	return request, nil
}

// maxPeriod is the longest sampling period: a day.
const maxPeriod = 24 * time.Hour

// parsePeriod reads seconds; "" is 0, for which the registry has a default.
func parsePeriod(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(seconds) || seconds <= 0 || seconds > maxPeriod.Seconds() {
		return 0, refuse(schema.Invalid, "give seconds, such as samplingperiod=1.0", "samplingperiod=%q is not a number of seconds between 0 and %v", text, maxPeriod.Seconds())
	}
	return time.Duration(math.Round(seconds * float64(time.Second))), nil
}
