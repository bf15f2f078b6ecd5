package web

import (
	"pvlog/schema"
)

// resolve finds the PVs that the request is about. A PV that several names or
// patterns lead to is one; where entries state something of their own, only the
// first of them can be meant.
func (run *bulkRun) resolve() error {
	b := run.bulk
	for _, e := range b.entries {
		if isGlob(e.PV) && b.kind.globs {
			run.expand(e.PV, e)
			continue
		}
		item := &bulkItem{asked: e.PV, entry: e}
		run.items = append(run.items, item)
		item.pv, item.err = run.name(e.PV)
	}
	if b.Glob != "" {
		run.expand(b.Glob, b.bulkEntry)
	}
	kept := run.items[:0]
	for _, item := range run.items {
		twice := item.err == nil && run.byPV[item.pv] != nil
		switch {
		case twice && len(b.kind.entry) == 0:
			continue
		case twice:
			item.err = schema.Errorf(schema.Conflict, "PV %s stands twice in the request", item.pv)
		case item.err == nil:
			run.byPV[item.pv] = item
		}
		kept = append(kept, item)
	}
	run.items = kept
	if len(kept) == 0 {
		return schema.Errorf(schema.NotFound, "no PV matches %q", b.Glob)
	}
	return nil
}

// name reads a name. An alias stands for its PV, but not for a new one.
func (run *bulkRun) name(text string) (schema.PVName, error) {
	if isGlob(text) {
		return "", refuse(schema.Invalid, "name each PV", "%q: %s takes names, not patterns", text, run.bulk.kind.command)
	}
	pv, err := schema.ParsePVName(text)
	if err != nil || !run.bulk.kind.globs {
		return pv, err
	}
	if found, ok := run.server.options.Registry.Resolve(pv); ok && found.Field == "" {
		return found.Info.PV, nil
	}
	return pv, nil
}

// expand adds the registered PVs that a glob matches. Aliases are left out: who
// deletes OLD:* does not mean a PV that an alias OLD:X stands for.
func (run *bulkRun) expand(glob string, e bulkEntry) {
	found := false
	for _, pv := range run.server.match(glob, -1) {
		if _, ok := run.server.options.Registry.Get(pv); !ok {
			continue
		}
		found = true
		run.items = append(run.items, &bulkItem{asked: string(pv), pv: pv, entry: e})
	}
	if !found && len(run.bulk.entries) > 0 && glob != run.bulk.Glob {
		run.items = append(run.items, &bulkItem{asked: glob, err: schema.Errorf(schema.NotFound, "no PV matches %q", glob)})
	}
}
