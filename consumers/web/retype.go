package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"pvlog/consumers/partition"
	"pvlog/consumers/registry"
	"pvlog/schema"
)

// Conversion asks for all stored samples of a PV as values of another type.
type Conversion struct {
	PV     schema.PVName
	Type   schema.DBRType
	Labels []string // of an enum's states, in their order
	Lossy  bool     // values that the type cannot hold become the nearest
	DryRun bool     // only tell what would become of them
}

// Converted is what became, or would become, of a PV's files.
type Converted struct {
	Files   int
	Samples int
	Lost    int // values that changed, or would hinder a conversion that is not lossy
	Losses  []*partition.Loss
	Bytes   int64
}

// retypeJSON is the answer to a change of type.
type retypeJSON struct {
	PV      schema.PVName `json:"pv"`
	Type    string        `json:"type"`
	Was     string        `json:"was"`
	DryRun  bool          `json:"dry_run,omitempty"`
	Files   int           `json:"files"`
	Samples int           `json:"samples"`
	Lost    int           `json:"lost"`
	Losses  []lossJSON    `json:"losses"`
	Bytes   int64         `json:"bytes"`
	Seq     uint64        `json:"seq,omitempty"`
}

// lossJSON is a value that the new type cannot hold.
type lossJSON struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Time    string `json:"time"`
	Problem string `json:"problem"`
}

// retype converts the data of a paused PV and gives it another type.
func (s *Server) retype(ctx context.Context, actor registry.Actor, info *schema.TypeInfo, typ schema.DBRType, lossy, dryRun bool) (retypeJSON, error) {
	answer := retypeJSON{PV: info.PV, Type: typ.String(), Was: info.DBRType.String(), DryRun: dryRun, Losses: []lossJSON{}}
	if info.DBRType == typ {
		return answer, nil
	}
	if s.options.Convert == nil {
		return answer, refuse(schema.Unavailable, "start pvlog with an archive", "this server cannot convert data")
	}
	commit := func(kept string) error {
		// The end of the request must not leave open which type the PV has.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTime)
		defer cancel()
		result := s.options.Registry.Retype(ctx, actor, registry.Retype{PV: info.PV, Type: typ, Kept: kept, Lossy: lossy})
		answer.Seq = result.Sequence
		return result.Err
	}
	done, err := s.options.Convert(ctx, Conversion{PV: info.PV, Type: typ, Labels: labelsOf(info), Lossy: lossy, DryRun: dryRun}, commit)
	answer.Files, answer.Samples, answer.Lost, answer.Bytes = done.Files, done.Samples, done.Lost, done.Bytes
	for _, l := range done.Losses {
		answer.Losses = append(answer.Losses, lossJSON{File: l.Path, Line: l.Line, Time: l.Time.Go().Format(time.RFC3339Nano), Problem: l.Err.Error()})
	}
	return answer, err
}

// labelsOf are the labels of a PV's states as far as its IOC told them.
func labelsOf(info *schema.TypeInfo) (labels []string) {
	for i := 0; ; i++ {
		label, ok := info.Fields["ENUM_"+strconv.Itoa(i)]
		if !ok {
			return labels
		}
		labels = append(labels, label)
	}
}

// changeType is the Appliance's request. lossy=true is pvlog's.
func (s *Server) changeType(w http.ResponseWriter, r *http.Request) error {
	l, info, err := s.one(r)
	if err == nil {
		err = l.need("newtype")
	}
	if err != nil {
		return err
	}
	typ, err := wantedType(l.values.Get("newtype"))
	if err != nil {
		return err
	}
	lossy := false
	if text := l.values.Get("lossy"); text != "" {
		if lossy, err = parseBool("lossy", text); err != nil {
			return err
		}
	}
	if info.State == schema.Archiving {
		return s.cannot(w, "Need to pause PV before changing type for %s", info.PV)
	}
	answer, err := s.retype(r.Context(), actorOf(r, l), info, typ, lossy, false)
	if schema.CodeOf(err) == schema.Conflict {
		return s.cannot(w, "%v", err)
	}
	if err != nil {
		return err
	}
	body := map[string]string{"status": "ok"}
	if answer.Lost > 0 {
		body["desc"] = fmt.Sprintf("%d of %d values became the nearest that %s holds", answer.Lost, answer.Samples, typ)
	}
	writeJSON(w, http.StatusOK, body)
	return nil
}

// wantedType reads a type that a PV may be given: DBR_SCALAR_DOUBLE.
func wantedType(text string) (schema.DBRType, error) {
	typ, err := parseType(text)
	if err == nil && typ == schema.UnknownType {
		err = refuse(schema.Invalid, "name a type such as DBR_SCALAR_DOUBLE", "no PV can be changed to %v", typ)
	}
	return typ, err
}

// rewriting is what requests that rewrite a PV's files have in common.
type rewriting struct {
	Lossy  bool   `json:"lossy"`
	DryRun bool   `json:"dry_run"`
	Reason string `json:"reason"`
}

// readRewrite reads the PV and the body of such a request, and what the address
// says beside it.
func readRewrite(r *http.Request, body any, common *rewriting, names ...string) (schema.PVName, error) {
	values, err := parameters(r, "dry_run", "reason")
	if err != nil {
		return "", err
	}
	pv, err := pathPV(r)
	if err != nil {
		return "", err
	}
	if err := readJSON(r, body, append(names, "lossy", "dry_run", "reason")...); err != nil {
		return "", err
	}
	common.Reason = or(common.Reason, values.Get("reason"))
	if text := values.Get("dry_run"); text != "" {
		err = flag("dry_run", text, &common.DryRun)
	}
	return pv, err
}

// retypeBody is what PUT /api/v1/pvs/{pv}/type takes.
type retypeBody struct {
	Type string `json:"type"`
	rewriting
}

// setType gives a paused PV another type.
func (s *Server) setType(w http.ResponseWriter, r *http.Request) error {
	var body retypeBody
	pv, err := readRewrite(r, &body, &body.rewriting, "type")
	if err != nil {
		return err
	}
	typ, err := wantedType(body.Type)
	if err != nil {
		return err
	}
	found, ok := s.options.Registry.Resolve(pv)
	if !ok || found.Field != "" {
		return unknownPV(pv)
	}
	if found.Info.State == schema.Archiving && !body.DryRun {
		return refuse(schema.Conflict, "pause it, change its type, resume it", "PV %s is being archived: its type is changed while it is paused", found.Info.PV)
	}
	ctx, done := s.commandContext(r)
	defer done()
	answer, err := s.retype(ctx, apiActor(r, body.Reason), found.Info, typ, body.Lossy, body.DryRun)
	if errors.Is(err, schema.ErrLoss) {
		return refuse(schema.Conflict, `send "dry_run":true to see all such values, "lossy":true to take the nearest`, "%w", err)
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}
