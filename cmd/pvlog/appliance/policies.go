package appliance

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/consumers/registry"
	"pvlog/consumers/web"
	"pvlog/ingest"
	"pvlog/ingest/policy"
	"pvlog/schema"
)

// policies ask the site's policy file how PVs are archived: by their name when
// they are requested, with everything their IOC says when they have connected,
// and once more when their rate is known. Samples wait for none of it.
type policies struct {
	source   *policy.Source
	registry *registry.Registry
	engine   *ingest.Engine
	log      *slog.Logger
	rates    *rates
}

// newPolicies reads the policy file. One that is wrong keeps nobody from
// archiving: PVs are archived as they are asked for until it is mended.
func newPolicies(path string, reg *registry.Registry, engine *ingest.Engine, log *slog.Logger, metrics prometheus.Registerer) (*policies, error) {
	p := &policies{source: policy.New(policy.Options{Path: path}), registry: reg, engine: engine, log: log, rates: newRates()}
	if err := p.source.Reload(); err != nil {
		log.Error("the policy file cannot be used; PVs are archived as they are asked for until it is mended", slog.Any("err", err))
	}
	return p, metrics.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pvlog_policies_rates_waiting", Help: "PVs whose event rate is being measured for their policy.",
	}, func() float64 { return float64(p.rates.waiting()) }))
}

// run follows the policy file, and asks again for PVs whose rate has been
// measured, until ctx ends.
func (p *policies) run(ctx context.Context) error {
	var parts sync.WaitGroup
	parts.Go(func() { _ = p.source.Run(ctx) }) // it has no errors
	parts.Go(func() { p.tellChanges(ctx) })
	p.resume(time.Now())
	p.rates.run(ctx, p.engine.State, func(pvs []schema.PVName) { p.judgeAll(ctx, pvs, whenMeasured) })
	parts.Wait()
	return nil
}

// resume lets PVs come up whose first minute an end of pvlog cut short.
func (p *policies) resume(now time.Time) {
	current := p.source.Current()
	if current == nil || !current.NeedsRate() {
		return
	}
	var young []schema.PVName
	for _, info := range p.registry.All() {
		if info.State == schema.Archiving && info.DBRType != schema.UnknownType && now.Sub(info.Created) < youngTime {
			young = append(young, info.PV)
		}
	}
	p.rates.await(young, now)
}

// youngTime is the age of a registration up to which its rate is measured
// again after a restart.
const youngTime = time.Hour

// tellChanges tells of files that came into force. PVs that are archived
// already keep their settings until an operator applies the policies.
func (p *policies) tellChanges(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.source.Changed():
			p.log.Info("policies are in force; `pvlog policy preview` shows what they would change at PVs that are archived already")
		}
	}
}

// list gives the policies that can be asked for.
func (p *policies) list() []web.Policy {
	list := []web.Policy{}
	if current := p.source.Current(); current != nil {
		for _, named := range current.List() {
			list = append(list, web.Policy(named))
		}
	}
	return list
}

// file gives the policy file in force and what is wrong with a newer one.
func (p *policies) file() (name string, text []byte, fault error) {
	if current := p.source.Current(); current != nil {
		name, text = current.Name(), current.Text()
	}
	return name, text, p.source.Fault()
}

// determine asks the policies in force; none are in force while the first
// file is wrong.
func (p *policies) determine(pv policy.PV) (d policy.Decision, matched bool, err error) {
	current := p.source.Current()
	if current == nil {
		return policy.Decision{}, false, nil
	}
	return current.Determine(pv)
}

// Actors of what policies do, for the history.
func policyActor(why string) registry.Actor { return registry.Actor{Name: "policy", Reason: why} }

// request completes a request as far as the PV's name decides.
func (p *policies) request(q *registry.Request) error {
	d, matched, err := p.determine(policy.PV{
		Name: q.PV, Type: schema.UnknownType, Policy: q.AskedPolicy, ControllingPV: q.ControllingPV,
	})
	switch {
	case err != nil:
		return err
	case !matched:
		return nil
	case d.DontArchive:
		return schema.Errorf(schema.Forbidden, "PV %s is not to be archived: policy %s (%s)", q.PV, d.Policy, d.Why)
	}
	q.Settings = joined(q.Settings, d, q.AskedSampling)
	return nil
}

// settled is what a decision makes of settings. What somebody asked for gives
// way only to a policy that overrides.
func settled(s schema.Settings, d policy.Decision, asked bool) schema.Settings {
	s.Policy = d.Policy
	if d.Overrides || !asked {
		if d.Method != "" {
			s.SamplingMethod = d.Method
		}
		if d.Period != 0 {
			s.SamplingPeriod = d.Period
		}
	}
	s.Stores = slices.Clone(d.Stores)
	s.ArchiveFields = slices.Clone(d.ArchiveFields)
	s.Deadband = d.Deadband
	if d.ControllingPV != "" {
		s.ControllingPV = d.ControllingPV
	}
	return s
}

// joined is settled for a PV that is being requested: the fields that were
// asked for with it are archived beside those of the policy.
func joined(s schema.Settings, d policy.Decision, asked bool) schema.Settings {
	fields := s.ArchiveFields
	s = settled(s, d, asked)
	s.ArchiveFields = slices.Compact(slices.Sorted(slices.Values(append(s.ArchiveFields, fields...))))
	return s
}

// known is what the policies may look at in a registered PV.
func (p *policies) known(info *schema.TypeInfo) policy.PV {
	pv := policy.PV{
		Name: info.PV, Type: info.DBRType, Count: info.ElementCount, Fields: info.Fields, Policy: info.AskedPolicy,
		ControllingPV: info.ControllingPV, Connected: info.DBRType != schema.UnknownType,
	}
	if name := info.Fields["NAME"]; name != string(info.PV) {
		pv.Alias = schema.PVName(name)
	}
	if s, ok := p.engine.State(info.PV); ok && s.Measured >= rateTime {
		pv.EventRate, pv.StorageRate, pv.EventCount, pv.RateKnown = s.EventRate, s.ByteRate, s.Received, true
	}
	return pv
}

// judgement is what the policies in force say of a registered PV.
type judgement struct {
	info     *schema.TypeInfo
	decision policy.Decision
	settle   settler
	settings schema.Settings // that it would have
	err      error           // the policy file failed
}

// judge asks the policies about a registered PV; ok is false when they do not
// speak of it, or not yet.
func (p *policies) judge(info *schema.TypeInfo, settle settler) (j judgement, ok bool) {
	d, matched, err := p.determine(p.known(info))
	if err != nil {
		return judgement{info: info, err: err}, true
	}
	if !matched {
		return judgement{}, false
	}
	return judgement{info: info, decision: d, settle: settle, settings: settle(info.Settings, d, info.AskedSampling)}, true
}

// settler is settled or joined.
type settler func(s schema.Settings, d policy.Decision, asked bool) schema.Settings

// changes reports whether the PV would be archived in another way, or no more.
func (j judgement) changes() bool {
	return j.err == nil && (j.decision.DontArchive && j.info.State == schema.Archiving || !j.decision.DontArchive && !j.settings.Equal(j.info.Settings))
}

// edit is what a judgement does to the settings of its PV.
func (j judgement) edit(s *schema.Settings) error {
	*s = j.settle(*s, j.decision, j.info.AskedSampling)
	return nil
}

// enforce makes judgements true and tells, by PV, what could not be.
func (p *policies) enforce(ctx context.Context, actor registry.Actor, judged []judgement) map[schema.PVName]error {
	var edits []registry.Edit
	for _, j := range judged {
		if j.changes() && !j.decision.DontArchive {
			edits = append(edits, registry.Edit{PV: j.info.PV, Change: j.edit})
		}
	}
	failed := failures{}
	failed.note(p.registry.Configure(ctx, actor, edits...))
	p.follow(ctx, actor, judged, failed)
	return failed
}

// failures are, by PV, what could not be done.
type failures map[schema.PVName]error

func (f failures) note(results []registry.Result) {
	for _, r := range results {
		if r.Err != nil && !errors.Is(r.Err, registry.ErrAlready) {
			f[r.PV] = r.Err
		}
	}
}

// follow does what judgements ask for beside settings: it stops PVs that are not
// to be archived and requests those that go with others.
func (p *policies) follow(ctx context.Context, actor registry.Actor, judged []judgement, failed failures) {
	var stop []schema.PVName
	var extra []registry.Request
	for _, j := range judged {
		switch {
		case !j.changes():
			continue
		case j.decision.DontArchive:
			stop = append(stop, j.info.PV)
			continue
		}
		for _, pv := range j.decision.ExtraPVs {
			extra = append(extra, registry.Request{PV: pv, Settings: schema.Settings{Policy: j.decision.Policy}})
		}
	}
	if len(stop) > 0 {
		failed.note(p.registry.Stop(ctx, actor, stop...))
	}
	if len(extra) > 0 {
		failed.note(p.registry.Archive(ctx, actor, extra...))
	}
}

// Occasions at which policies are asked, for the history.
const (
	whenConnected = "connected"
	whenMeasured  = "rate measured"
)

func (p *policies) tell(pv schema.PVName, err error) {
	p.log.Warn("a policy could not be applied; the PV is archived as before", slog.String("pv", string(pv)), slog.Any("err", err))
}

func (p *policies) tellErrors(judged []judgement) {
	for _, j := range judged {
		if j.err != nil {
			p.log.Warn("the policies fail for a PV; it is archived as it was asked for", slog.String("pv", string(j.info.PV)), slog.Any("err", j.err))
		}
	}
}

// judgeAll judges and enforces, and tells of failures once for all.
func (p *policies) judgeAll(ctx context.Context, pvs []schema.PVName, when string) {
	var judged []judgement
	for _, pv := range pvs {
		if info, ok := p.registry.Get(pv); ok && info.State == schema.Archiving {
			if j, ok := p.judge(info, joined); ok {
				judged = append(judged, j)
			}
		}
	}
	for why, list := range byReason(judged) {
		for pv, err := range p.enforce(ctx, policyActor(when+": "+why), list) {
			p.tell(pv, err)
		}
	}
	p.tellErrors(judged)
}

// reason is which policy decided, for the history.
func (j judgement) reason() string { return "policy " + j.decision.Policy }

// byReason puts together what one command with one reason can do.
func byReason(judged []judgement) map[string][]judgement {
	groups := map[string][]judgement{}
	for _, j := range judged {
		if j.changes() {
			groups[j.reason()] = append(groups[j.reason()], j)
		}
	}
	return groups
}
