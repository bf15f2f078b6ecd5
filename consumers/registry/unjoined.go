package registry

import (
	"slices"

	"pvlog/schema"
)

// Unjoined are registered PVs whose IOC calls them by another name than they
// are archived under, in the order of their names: Alias is the PV, PV the
// other name, which may or may not be registered. They are never joined but on
// command.
func (r *Registry) Unjoined() []Alias {
	list := []Alias{}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for pv, h := range r.state.records {
		if h.Info == nil || h.Info.State == schema.Alias {
			continue
		}
		if real := schema.PVName(h.Info.Fields["NAME"]); real != "" && real != pv {
			list = append(list, Alias{Alias: pv, PV: real})
		}
	}
	slices.SortFunc(list, func(a, b Alias) int { return compareNames(a.Alias, b.Alias) })
	return list
}
