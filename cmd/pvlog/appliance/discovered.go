package appliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"pvlog/consumers/registry"
	"pvlog/ingest"
	"pvlog/schema"
)

var (
	connected  = registry.Actor{Name: "engine", Reason: "connected"}
	aliasFound = registry.Actor{Name: "engine", Reason: "the IOC says that the name is an alias"}
)

// started records what the engine found out about PVs that connected. A request
// whose IOC says that it is an alias becomes one, and the PV behind it is
// archived in its place.
func (a *Appliance) started(ctx context.Context, found []ingest.Discovery) error {
	discoveries := make([]registry.Discovery, 0, len(found))
	for _, d := range a.joinAliases(ctx, found) {
		discoveries = append(discoveries, registry.Discovery{
			PV: d.PV, Type: d.Type, Count: d.Count, Host: d.Host, Units: d.Units, Precision: d.Precision, Limits: d.Limits, Fields: d.Fields,
		})
	}
	if len(discoveries) == 0 {
		return nil
	}
	first := a.policies.settle(discoveries)
	results := a.registry.Started(ctx, connected, discoveries...)
	a.policies.connected(ctx, first, results)
	var errs []error
	for _, r := range results {
		if r.Err != nil && !errors.Is(r.Err, registry.ErrAlready) {
			errs = append(errs, fmt.Errorf("%s: %w", r.PV, r.Err))
		}
	}
	return errors.Join(errs...)
}

// settle lets discoveries of PVs that connect for the first time carry what the
// policies make of them, so that it needs no event of its own. It gives those
// PVs, with a judgement if there is one.
func (p *policies) settle(discoveries []registry.Discovery) map[schema.PVName]judgement {
	first := map[schema.PVName]judgement{}
	for i := range discoveries {
		d := &discoveries[i]
		info, ok := p.registry.Get(d.PV)
		if !ok || info.DBRType != schema.UnknownType {
			continue
		}
		first[d.PV] = judgement{}
		if info.State != schema.Archiving {
			continue
		}
		found := *info
		found.DBRType, found.ElementCount = d.Type, d.Count
		found.Fields = maps.Collect(maps.All(info.Fields))
		maps.Copy(found.Fields, d.Fields)
		j, ok := p.judge(&found, joined)
		if !ok {
			continue
		}
		first[d.PV] = j
		if j.changes() && !j.decision.DontArchive {
			d.Settle, d.Why = j.edit, whenConnected+": "+j.reason()
		}
	}
	return first
}

// connected ends what settle began, once the discoveries are recorded. What
// fails is told: the PVs are archived as they were asked for.
func (p *policies) connected(ctx context.Context, first map[schema.PVName]judgement, results []registry.Result) {
	var judged []judgement
	var pvs []schema.PVName
	for _, r := range results {
		j, ok := first[r.PV]
		switch {
		case !ok || r.Err != nil: // it comes again
			continue
		case r.Unsettled != nil:
			p.tell(r.PV, r.Unsettled)
		case j.info != nil:
			judged = append(judged, j)
		}
		pvs = append(pvs, r.PV)
	}
	for why, list := range byReason(judged) {
		failed := failures{}
		p.follow(ctx, policyActor(whenConnected+": "+why), list, failed)
		for pv, err := range failed {
			p.tell(pv, err)
		}
	}
	p.tellErrors(judged)
	if current := p.source.Current(); current != nil && current.NeedsRate() && len(pvs) > 0 {
		p.rates.await(pvs, time.Now())
	}
}

// joinAliases makes requested PVs aliases of the PVs that they are, and gives
// the discoveries that are left: of PVs under their own names, and of those
// that could not be joined. These are archived as they were asked for, with
// the name that was found beside them: data that are in the wrong folder can
// be moved, data that are not there cannot.
func (a *Appliance) joinAliases(ctx context.Context, found []ingest.Discovery) []ingest.Discovery {
	var own, named []ingest.Discovery
	for _, d := range found {
		if info, ok := a.registry.Get(d.PV); d.RealName != "" && ok && info.State != schema.Alias && info.DBRType == schema.UnknownType {
			named = append(named, d)
		} else {
			own = append(own, d)
		}
	}
	if len(named) == 0 {
		return own
	}
	a.archiveReal(ctx, named)
	aliases := make([]registry.Alias, len(named))
	for i, d := range named {
		aliases[i] = registry.Alias{Alias: d.PV, PV: d.RealName}
	}
	for i, r := range a.registry.AddAlias(ctx, aliasFound, aliases...) {
		d := named[i]
		if r.Err == nil || errors.Is(r.Err, registry.ErrAlready) {
			a.log.Info("a requested PV is an alias and is archived under its own name", slog.String("pv", string(d.PV)), slog.String("name", string(d.RealName)))
			continue
		}
		a.log.Warn("a requested PV is an alias and is archived as it was asked for all the same",
			slog.String("pv", string(d.PV)), slog.String("name", string(d.RealName)), slog.Any("err", r.Err))
		own = append(own, ownName(d))
	}
	return own
}

// ownName is the discovery of a PV that keeps its name although its IOC knows
// another one.
func ownName(d ingest.Discovery) ingest.Discovery {
	if d.Fields == nil {
		d.Fields = map[string]string{}
	}
	d.Fields["NAME"] = string(d.RealName)
	return d
}

// archiveReal requests the PVs behind aliases as the aliases were requested.
// One that is registered keeps its settings. What fails shows when the alias
// is made.
func (a *Appliance) archiveReal(ctx context.Context, named []ingest.Discovery) {
	requests := make([]registry.Request, 0, len(named))
	for _, d := range named {
		info, ok := a.registry.Get(d.PV)
		if !ok {
			continue
		}
		requests = append(requests, registry.Request{
			PV: d.RealName, Settings: info.Settings, AskedSampling: info.AskedSampling, AskedPolicy: info.AskedPolicy, Expires: info.Expires,
		})
	}
	for _, r := range a.registry.Archive(ctx, aliasFound, requests...) {
		if r.Err != nil && !errors.Is(r.Err, registry.ErrAlready) {
			a.log.Warn("the PV behind an alias cannot be archived", slog.String("pv", string(r.PV)), slog.Any("err", r.Err))
		}
	}
}
