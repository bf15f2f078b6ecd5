package web

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// changeParameters changes sampling method and period of one PV or several;
// what is not said stays as it is.
func (s *Server) changeParameters(w http.ResponseWriter, r *http.Request) error {
	l, err := readListing(r)
	if err != nil {
		return err
	}
	var targets []target
	changes := make(map[schema.PVName]registry.Parameters)
	for _, e := range l.entries {
		p, err := parametersOf(e.or(l))
		found, _ := s.targets(listing{entries: []entry{e}})
		for _, t := range found {
			if t.err == nil {
				t.err = err
			}
			if _, twice := changes[t.pv]; t.err == nil && !twice {
				p.PV = t.pv
				changes[t.pv] = p
			}
			targets = append(targets, t)
		}
	}
	if len(targets) == 0 {
		return missingPV()
	}
	run(r, l, targets, func(ctx context.Context, actor registry.Actor, pvs ...schema.PVName) []registry.Result {
		list := make([]registry.Parameters, len(pvs))
		for i, pv := range pvs {
			list[i] = changes[pv]
		}
		return s.options.Registry.ChangeParameters(ctx, actor, list...)
	})
	return s.answerEach(w, targets, l.single(), func(t target) map[string]any {
		body := map[string]any{"status": "ok", "desc": "Successfully changed the archival parameters for " + t.asked}
		switch {
		case schema.CodeOf(t.err) == schema.NotFound: // in the Appliance's words
			body = map[string]any{"validation": "Unable to change the archival parameters for " + t.asked}
		case t.err != nil:
			body = map[string]any{"validation": s.validation(r, t)}
		}
		if !l.single() {
			body["pvName"] = t.asked
		}
		return body
	})
}

func parametersOf(e entry) (p registry.Parameters, err error) {
	if e.SamplingMethod == "" && e.SamplingPeriod == "" {
		return p, refuse(schema.Invalid, "add samplingperiod=SECONDS, samplingmethod=MONITOR or SCAN, or both", "neither samplingperiod nor samplingmethod is given")
	}
	if p.Period, err = parsePeriod(string(e.SamplingPeriod)); err != nil {
		return p, err
	}
	if e.SamplingMethod != "" {
		p.Method, err = schema.ParseSamplingMethod(string(e.SamplingMethod))
	}
	return p, err
}

// skipAliasCheck lets PVs be archived under the names they were asked for,
// whatever their IOC says of them. In the Appliance that is too late for a PV
// that has connected; here it is not.
func (s *Server) skipAliasCheck(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, func(ctx context.Context, actor registry.Actor, pvs ...schema.PVName) []registry.Result {
		edits := make([]registry.Edit, len(pvs))
		skip := true
		for i, pv := range pvs {
			edits[i] = registry.Edit{PV: pv, SkipAliasCheck: &skip}
		}
		return s.options.Registry.Configure(ctx, actor, edits...)
	})
}

// modifyFields changes which fields are archived with a PV's samples: any field
// of its record, as in the Appliance, where only policies and archivePV make
// PVs of their own of the fields that are not in the standard list. The PV must
// be paused. The answer's fields are sorted; in the Appliance they are not.
func (s *Server) modifyFields(w http.ResponseWriter, r *http.Request) error {
	l, info, err := s.one(r)
	if err != nil {
		return err
	}
	commands := l.values["command"]
	if len(commands) == 0 {
		return refuse(schema.Invalid, "add command=add,HIHI,LOLO or command=remove,DRVL or command=clear", "the parameter command is missing")
	}
	if info.State == schema.Archiving {
		return schema.Errorf(schema.Conflict, "Please pause the pv %s first", info.PV)
	}
	edit := registry.Edit{PV: info.PV, Change: func(set *schema.Settings) (err error) {
		for _, command := range commands {
			if set.ArchiveFields, err = editFields(set.ArchiveFields, command); err != nil {
				return err
			}
		}
		return nil
	}}
	if err := s.options.Registry.Configure(r.Context(), actorOf(r, l), edit)[0].Err; err != nil {
		return err
	}
	now, err := s.registered(info.PV)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]string{"pvName": l.asked(), "fields": strings.Join(now.ArchiveFields, ",")})
	return nil
}

// editFields carries out one command of modifyMetaFields.
func editFields(fields []string, command string) ([]string, error) {
	verb, rest, _ := strings.Cut(command, ",")
	named := splitNames(rest)
	switch {
	case verb == "clear" && len(named) == 0:
		return nil, nil
	case verb == "add" && len(named) > 0:
		return append(fields, named...), nil
	case verb == "remove" && len(named) > 0:
		return slices.DeleteFunc(fields, func(f string) bool { return slices.Contains(named, f) }), nil
	}
	return nil, refuse(schema.Invalid, "use add,A,B or remove,A,B or clear", "command=%q is not understood", command)
}
