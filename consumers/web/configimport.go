package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// importing is a configuration on its way into the registry.
type importing struct {
	server      *Server
	own         bool // PVs of other appliances are refused
	definitions []registry.Definition
	aliases     []registry.Alias
	failed      []map[string]string // pvName and validation
	notes       map[string]*tally
}

// tally counts the PVs that a note is about.
type tally struct {
	pvs   int
	first schema.PVName
}

// importConfig registers PVs as they are stated: a JSON array of PVTypeInfos as
// exportConfig answers it here or in an Appliance, of any site, among them
// aliases as getAllAliases answers them. Of PVs that are registered already
// nothing is changed. The answer is an array with an object per appliance, here
// one, with the Appliance's keys (appliance, errorPVs) and pvlog's: imported
// (number of PVs), aliases (number), errors (why), notes (what was not taken as
// stated, and of how many PVs). The Appliance passes over PVs of an appliance
// that it does not know; here they are taken.
func (s *Server) importConfig(w http.ResponseWriter, r *http.Request) error {
	answer, err := s.importAll(r, false)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, []any{answer})
	return nil
}

// importOwnConfig is importConfig for PVTypeInfos of this appliance; its answer
// is the object.
func (s *Server) importOwnConfig(w http.ResponseWriter, r *http.Request) error {
	answer, err := s.importAll(r, true)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

func (s *Server) importAll(r *http.Request, own bool) (map[string]any, error) {
	values, err := query(r)
	if err != nil {
		return nil, err
	}
	m := &importing{server: s, own: own, notes: map[string]*tally{}}
	if err := m.read(r.Body); err != nil {
		return nil, err
	}
	imported, aliased := m.register(r.Context(), actorOf(r, listing{values: values}), r)
	errorPVs := make([]string, len(m.failed))
	for i, f := range m.failed {
		errorPVs[i] = f["pvName"]
	}
	return map[string]any{"appliance": s.options.Identity, "errorPVs": errorPVs, "imported": imported, "aliases": aliased,
		"errors": append([]map[string]string{}, m.failed...), "notes": m.told()}, nil
}

// register makes what was read known to the registry; it gives how many PVs and
// aliases are new.
func (m *importing) register(ctx context.Context, actor registry.Actor, r *http.Request) (imported, aliased int) {
	for _, result := range m.server.options.Registry.Define(ctx, actor, m.definitions...) {
		imported += m.outcome(r, result)
	}
	for _, result := range m.server.options.Registry.AddAlias(ctx, actor, m.aliases...) {
		if errors.Is(result.Err, registry.ErrAlready) {
			continue
		}
		aliased += m.outcome(r, result)
	}
	return imported, aliased
}

// outcome notes what became of a PV and gives 1 if it was registered.
func (m *importing) outcome(r *http.Request, result registry.Result) int {
	if result.Err == nil {
		return 1
	}
	m.fail(string(result.PV), m.server.validation(r, target{pv: result.PV, err: result.Err}))
	return 0
}

func (m *importing) fail(pv, why string) {
	m.failed = append(m.failed, map[string]string{"pvName": pv, "validation": why})
}

// read reads the array item by item: it may be large.
func (m *importing) read(body io.Reader) error {
	const want = "a JSON array of PVTypeInfos as /mgmt/bpl/exportConfig answers it"
	d := json.NewDecoder(body)
	if token, err := d.Token(); err != nil {
		return badJSONBody(err, want)
	} else if token != json.Delim('[') {
		return badJSONBody(fmt.Errorf("it begins with %v", token), want)
	}
	for i := 0; d.More(); i++ {
		var object map[string]json.RawMessage
		if err := d.Decode(&object); err != nil {
			return badJSONBody(fmt.Errorf("item %d: %w", i, err), want)
		}
		if err := m.add(object); err != nil {
			var name text
			_ = json.Unmarshal(object["pvName"], &name) // else it is none
			m.fail(or(string(name), fmt.Sprintf("item %d", i)), err.Error())
		}
	}
	if _, err := d.Token(); err != nil {
		return badJSONBody(err, want)
	}
	return nil
}

// add takes one item: a PVTypeInfo or an alias.
func (m *importing) add(object map[string]json.RawMessage) error {
	if _, isAlias := object["aliasName"]; isAlias {
		return m.addAlias(object)
	}
	d, err := m.server.define(object, definedBase(nil))
	if err != nil {
		return err
	}
	if m.own && d.appliance != m.server.options.Identity {
		return schema.Errorf(schema.Invalid, "PV %s belongs to the appliance %q, this one is %q: /mgmt/bpl/importConfig takes it", d.info.PV, d.appliance, m.server.options.Identity)
	}
	for _, note := range d.notes {
		t := m.notes[note]
		if t == nil {
			t = &tally{first: d.info.PV}
			m.notes[note] = t
		}
		t.pvs++
	}
	m.definitions = append(m.definitions, registry.Definition{Info: d.info})
	return nil
}

func (m *importing) addAlias(object map[string]json.RawMessage) error {
	var names [2]text
	for i, key := range []string{"aliasName", "srcPVName"} {
		if err := json.Unmarshal(object[key], &names[i]); err != nil {
			return schema.Errorf(schema.Invalid, "an alias is stated as {\"aliasName\":\"B\",\"srcPVName\":\"A\"}: %v", err)
		}
	}
	alias, err := schema.ParsePVName(string(names[0]))
	if err != nil {
		return err
	}
	pv, err := schema.ParsePVName(string(names[1]))
	if err != nil {
		return err
	}
	m.aliases = append(m.aliases, registry.Alias{Alias: alias, PV: pv})
	return nil
}

// maxNotes bounds how many unknown keys are told of.
const maxNotes = 100

// told is the notes in words.
func (m *importing) told() []string {
	list := []string{}
	for _, note := range slices.Sorted(maps.Keys(m.notes)) {
		if len(list) == maxNotes {
			return append(list, fmt.Sprintf("and %d more", len(m.notes)-maxNotes))
		}
		t := m.notes[note]
		list = append(list, fmt.Sprintf("%d PVs (such as %s): %s", t.pvs, t.first, note))
	}
	return list
}
