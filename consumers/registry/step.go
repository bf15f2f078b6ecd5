package registry

import (
	"slices"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// order is what all steps of a command have in common.
type order struct {
	command  string
	data     bool   // of delete
	override bool   // of define
	undone   string // of undo: the change that is taken back
	later    int    // of undo: steps from this one on come in batches of their own; 0: none
}

// item is a step as a change holds it: all that is needed to do it later.
type item struct {
	pv         schema.PVName
	request    *logpb.PVRequested // of archive
	from, to   *logpb.Settings    // of configure
	skip       skipping           // of configure
	expect     uint64             // of configure
	definition *logpb.PVDefined   // of define
	target     schema.PVName      // of aliases
	undoes     uint64             // of undo
}

// stepOf is the step that an item stands for. A command that this version does
// not know gives a step that refuses.
func (r *Registry) stepOf(o order, it item) step {
	st := step{pv: it.pv}
	switch o.command {
	case commandArchive:
		st.decide = func(v view) (*logpb.RegistryEvent, error) {
			return decideArchive(v, func() (*logpb.PVRequested, error) { return it.request, nil })
		}
	case commandPause:
		st.decide = decidePause
	case commandResume:
		st.decide = decideResume
	case commandStop:
		st.decide = decideStop
	case commandDelete:
		st.decide = func(v view) (*logpb.RegistryEvent, error) { return decideDelete(v, o.data) }
	case commandChange:
		edit := Edit{
			PV: it.pv, Change: func(s *schema.Settings) error { return merge(s, it.from, it.to) },
			SkipAliasCheck: it.skip.wanted(), Expect: it.expect,
		}
		st.decide = func(v view) (*logpb.RegistryEvent, error) { return decideConfigure(v, edit) }
	case commandDefine:
		st.exact = true
		st.decide = func(v view) (*logpb.RegistryEvent, error) {
			return decideDefine(v, o.override, func() (*logpb.PVDefined, error) { return it.definition, nil })
		}
	case commandAlias:
		st.exact = true
		st.decide = func(v view) (*logpb.RegistryEvent, error) { return decideAlias(v, Alias{it.pv, it.target}) }
	case commandUnalias:
		st.exact = true
		st.decide = func(v view) (*logpb.RegistryEvent, error) { return decideUnalias(v, Alias{it.pv, it.target}) }
	case commandUndo:
		return r.undoStep(it)
	default:
		st.decide = func(view) (*logpb.RegistryEvent, error) {
			return nil, schema.Errorf(schema.Invalid, "PV %s: this version of pvlog does not know the command %q", it.pv, o.command)
		}
	}
	return st
}

// skipping is whether an edit turns the alias check off or on.
type skipping uint32

const (
	skipAsIs skipping = iota
	skipOff
	skipOn
)

func skippingOf(wanted *bool) skipping {
	switch {
	case wanted == nil:
		return skipAsIs
	case *wanted:
		return skipOn
	}
	return skipOff
}

func (s skipping) wanted() *bool {
	if s == skipAsIs {
		return nil
	}
	on := s == skipOn
	return &on
}

// writeEdit runs an edit now and keeps what it does.
func writeEdit(v view, e Edit) (item, error) {
	event, err := decideConfigure(v, e)
	if err != nil {
		return item{}, err
	}
	it := item{from: v.info.Settings.Message(), skip: skippingOf(e.SkipAliasCheck), expect: e.Expect}
	if it.to = event.GetConfigured().GetSettings(); it.to == nil {
		it.to = it.from
	}
	return it, nil
}

// merge changes in present what differs between from and to.
func merge(present *schema.Settings, from, to *logpb.Settings) error {
	f, t := schema.SettingsOf(from), schema.SettingsOf(to)
	edit(&present.SamplingMethod, f.SamplingMethod, t.SamplingMethod)
	edit(&present.SamplingPeriod, f.SamplingPeriod, t.SamplingPeriod)
	edit(&present.Policy, f.Policy, t.Policy)
	edit(&present.ControllingPV, f.ControllingPV, t.ControllingPV)
	edit(&present.Deadband, f.Deadband, t.Deadband)
	edit(&present.DriftPast, f.DriftPast, t.DriftPast)
	edit(&present.DriftFuture, f.DriftFuture, t.DriftFuture)
	edit(&present.RateEvents, f.RateEvents, t.RateEvents)
	edit(&present.RateBytes, f.RateBytes, t.RateBytes)
	if !slices.Equal(f.Stores, t.Stores) {
		present.Stores = t.Stores
	}
	if !slices.Equal(f.ArchiveFields, t.ArchiveFields) {
		present.ArchiveFields = t.ArchiveFields
	}
	return nil
}

func edit[V comparable](present *V, from, to V) {
	if from != to {
		*present = to
	}
}
