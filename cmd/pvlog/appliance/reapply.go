package appliance

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pvlog/consumers/registry"
	"pvlog/consumers/web"
	"pvlog/schema"
)

// preview tells what the policies in force would change at registered PVs.
func (p *policies) preview(ctx context.Context, glob string) ([]web.PolicyChange, error) {
	judged, err := p.judgeGlob(ctx, glob)
	if err != nil {
		return nil, err
	}
	changes := make([]web.PolicyChange, len(judged))
	for i, j := range judged {
		changes[i] = j.change()
	}
	return changes, nil
}

// apply makes the changes of a preview.
func (p *policies) apply(ctx context.Context, actor registry.Actor, glob string) ([]web.PolicyChange, error) {
	judged, err := p.judgeGlob(ctx, glob)
	if err != nil {
		return nil, err
	}
	failed := p.enforce(ctx, actor, judged)
	changes := make([]web.PolicyChange, len(judged))
	for i, j := range judged {
		changes[i] = j.change()
		if err := failed[j.info.PV]; err != nil {
			changes[i].Error = err.Error()
		}
	}
	return changes, nil
}

// judgeGlob gives the judgements that change something, and those that fail.
func (p *policies) judgeGlob(ctx context.Context, glob string) ([]judgement, error) {
	var judged []judgement
	for i, pv := range p.registry.Match(glob, 0) {
		if i%1000 == 0 && ctx.Err() != nil {
			return nil, fmt.Errorf("judge PVs by their policies: %w", context.Cause(ctx))
		}
		info, ok := p.registry.Get(pv)
		if !ok {
			continue
		}
		if j, ok := p.judge(info, settled); ok && (j.err != nil || j.changes()) {
			judged = append(judged, j)
		}
	}
	return judged, nil
}

// change is a judgement for people.
func (j judgement) change() web.PolicyChange {
	c := web.PolicyChange{PV: j.info.PV, Policy: j.decision.Policy, Why: j.decision.Why}
	switch {
	case j.err != nil:
		c.Error = j.err.Error()
	case j.decision.DontArchive:
		c.Stop = true
	default:
		c.Changes = deltas(j.info.Settings, j.settings)
	}
	return c
}

// deltas are the settings that differ.
func deltas(from, to schema.Settings) []web.SettingDelta {
	was, becomes := settingTexts(from), settingTexts(to)
	var list []web.SettingDelta
	for i, s := range was {
		if s[1] != becomes[i][1] {
			list = append(list, web.SettingDelta{Name: s[0], From: s[1], To: becomes[i][1]})
		}
	}
	slices.SortFunc(list, func(a, b web.SettingDelta) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// settingTexts are all settings with their names in the API.
func settingTexts(s schema.Settings) [][2]string {
	return [][2]string{
		{"method", string(s.SamplingMethod)}, {"period", s.SamplingPeriod.String()}, {"policy", s.Policy},
		{"controlling_pv", string(s.ControllingPV)}, {"stores", strings.Join(s.Stores, " ")}, {"fields", strings.Join(s.ArchiveFields, " ")},
		{"deadband", fmt.Sprint(s.Deadband)}, {"drift_past", s.DriftPast.String()}, {"drift_future", s.DriftFuture.String()},
		{"rate_events", fmt.Sprint(s.RateEvents)}, {"rate_bytes", fmt.Sprint(s.RateBytes)},
	}
}
