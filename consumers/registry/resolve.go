package registry

import (
	"slices"

	"pvlog/schema"
)

// maxAliasHops bounds the way from an alias to its PV. An alias of an alias is
// refused, but two servers could make one at the same time.
const maxAliasHops = 8

// Found is where a name led.
type Found struct {
	Info  *schema.TypeInfo // shared: read only
	Field string           // the name's field, if it is archived with the samples of Info.PV; else ""
	Alias bool             // the name, or its record, is an alias
}

// Resolve finds what a name stands for, in the Appliance's order: for PV.FIELD
// the PV if it archives FIELD, then a PV of the whole name, then the same for
// the PV that the record is an alias of, then the alias of the whole name. name
// is as [schema.ParsePVName] gives it.
func (r *Registry) Resolve(name schema.PVName) (Found, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.state.resolve(name)
}

func (s *state) resolve(name schema.PVName) (Found, bool) {
	if found, ok := s.direct(name); ok {
		return found, true
	}
	record, field := schema.PVName(name.Record()), name.Field()
	if field != "" {
		if real, ok := s.real(record); ok {
			if found, ok := s.direct(schema.PVName(string(real) + "." + field)); ok {
				found.Alias = true
				return found, true
			}
		}
	}
	real, ok := s.real(name)
	if !ok {
		return Found{}, false
	}
	info, ok := s.get(real)
	return Found{Info: info, Alias: true}, ok
}

// direct finds a name that needs no alias.
func (s *state) direct(name schema.PVName) (Found, bool) {
	if field := name.Field(); field != "" {
		info, ok := s.get(schema.PVName(name.Record()))
		if ok && slices.Contains(info.ArchiveFields, field) {
			return Found{Info: info, Field: field}, true
		}
	}
	info, ok := s.get(name)
	return Found{Info: info}, ok
}

// real is the name that an alias stands for in the end.
func (s *state) real(alias schema.PVName) (schema.PVName, bool) {
	for range maxAliasHops {
		info := s.records[alias].Info
		if info == nil {
			return "", false
		}
		if info.State != schema.Alias {
			return alias, true
		}
		alias = info.AliasOf
	}
	return "", false
}

// Alias is a name that stands for a PV.
type Alias struct {
	Alias schema.PVName `json:"alias"`
	PV    schema.PVName `json:"pv"`
}

// Aliases are all aliases in the order of their names.
func (r *Registry) Aliases() []Alias {
	list := []Alias{}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for pv, names := range r.state.aliases {
		for _, name := range names {
			list = append(list, Alias{name, pv})
		}
	}
	slices.SortFunc(list, func(a, b Alias) int { return compareNames(a.Alias, b.Alias) })
	return list
}

// AliasesOf are the names that stand for a PV, in order.
func (r *Registry) AliasesOf(pv schema.PVName) []schema.PVName {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(r.state.aliases[pv])
}

func compareNames(a, b schema.PVName) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
