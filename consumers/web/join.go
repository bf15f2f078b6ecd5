package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// Moved is what became of samples that were merged into a PV's files.
type Moved struct {
	Samples int   `json:"samples"`
	Merged  int   `json:"merged"`
	There   int   `json:"there"`   // they were there already
	Differs int   `json:"differs"` // left out: another sample stands at their instant
	Waits   int   `json:"waits"`   // left out for the reason in Why
	Why     error `json:"-"`
}

// External is a PV of another archiver.
type External struct {
	PV       schema.PVName
	Raw      *url.URL // that answers its samples as a raw stream
	From, To time.Time
}

// joined is the answer to a join.
type joined struct {
	PV       schema.PVName `json:"pv"`
	AliasOf  schema.PVName `json:"alias_of"`
	ChangeID string        `json:"change_id,omitempty"` // takes it back
	Seq      uint64        `json:"seq,omitempty"`
	DryRun   bool          `json:"dry_run,omitempty"`
	Moved
}

// joinPatience is how long samples are waited for that are too new to be merged:
// what is on its way to the other PV's files comes first.
const (
	joinPatience = 30 * time.Second
	joinPause    = time.Second
)

// join merges a PV into another one and makes its name an alias of that: it is
// paused, its samples are merged, its files go to the trash and its registration
// ends, in this order, so that whatever stops in between it can be repeated. All
// events carry one change id. With lossy, samples at whose instant the other has
// a different one stay in the trash alone.
func (s *Server) join(ctx context.Context, actor registry.Actor, pv, real schema.PVName, lossy, dryRun bool) (joined, error) {
	answer := joined{PV: pv, AliasOf: real, DryRun: dryRun}
	if s.options.MergeFrom == nil || s.options.Retire == nil {
		return answer, refuse(schema.Unavailable, "start pvlog with an archive", "this server cannot merge data")
	}
	reg := s.options.Registry
	dry := actor
	dry.DryRun = true
	check := reg.Join(ctx, dry, registry.Join{PV: pv, Real: real, Pausing: true})
	if errors.Is(check.Err, registry.ErrAlready) {
		return answer, nil
	}
	if check.Err != nil {
		return answer, check.Err
	}
	var err error
	if dryRun {
		answer.Moved, err = s.options.MergeFrom(ctx, pv, real, true)
		return answer, err
	}
	actor.ChangeID = registry.NewChangeID(time.Now())
	paused := reg.Pause(ctx, actor, pv)[0]
	if paused.Err != nil && !errors.Is(paused.Err, registry.ErrAlready) {
		return answer, paused.Err
	}
	if answer.Moved, err = s.mergePatiently(ctx, pv, real, lossy); err == nil {
		err = s.options.Retire(ctx, pv, func(kept string) error {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTime)
			defer cancel()
			result := reg.Join(ctx, actor, registry.Join{PV: pv, Real: real, Kept: kept})
			answer.Seq = result.Sequence
			return result.Err
		})
	}
	if err != nil {
		if paused.Sequence != 0 && schema.CodeOf(err) != schema.Unavailable {
			actor.ChangeID = ""
			err = errors.Join(err, reg.Undo(ctx, actor, paused.Sequence).Err)
		}
		return answer, err
	}
	answer.ChangeID = actor.ChangeID
	return answer, nil
}

// mergePatiently merges until nothing is too new.
func (s *Server) mergePatiently(ctx context.Context, pv, real schema.PVName, lossy bool) (Moved, error) {
	began := time.Now()
	for {
		moved, err := s.options.MergeFrom(ctx, pv, real, false)
		switch {
		case err != nil:
			return moved, err
		case moved.Differs > 0 && !lossy:
			return moved, refuse(schema.Conflict, `look at both PVs; with "lossy":true these samples stay in the trash alone`,
				"%d samples of %s stand at instants at which %s has another value: they cannot be merged", moved.Differs, pv, real)
		case moved.Waits == 0:
			return moved, nil
		case time.Since(began) > joinPatience:
			return moved, schema.Errorf(schema.Conflict, "%d samples of %s cannot be merged into %s: %w", moved.Waits, pv, real, moved.Why)
		}
		select {
		case <-ctx.Done():
			return moved, schema.Errorf(schema.Unavailable, "join %s with %s: it was ended, repeat it: %w", pv, real, ctx.Err())
		case <-time.After(joinPause):
		}
	}
}

// joinBody is what POST /api/v1/pvs/{pv}/join takes; without a PV it is the one
// whose name the IOC gave.
type joinBody struct {
	PV string `json:"pv"`
	rewriting
}

// joinPV joins a PV with the one that it is an alias of.
func (s *Server) joinPV(w http.ResponseWriter, r *http.Request) error {
	var body joinBody
	pv, err := readRewrite(r, &body, &body.rewriting, "pv")
	if err != nil {
		return err
	}
	real, err := s.realOf(pv, body.PV)
	if err != nil {
		return err
	}
	ctx, done := s.commandContext(r)
	defer done()
	answer, err := s.join(ctx, apiActor(r, body.Reason), pv, real, body.Lossy, body.DryRun)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// realOf is the PV that one is to be joined with.
func (s *Server) realOf(pv schema.PVName, asked string) (schema.PVName, error) {
	if asked != "" {
		return schema.ParsePVName(asked)
	}
	found, ok := s.options.Registry.Resolve(pv)
	switch {
	case !ok || found.Field != "":
		return "", unknownPV(pv)
	case found.Info.PV != pv: // an alias already
		return found.Info.PV, nil
	}
	if name := found.Info.Fields["NAME"]; name != "" && name != string(pv) {
		return schema.ParsePVName(name)
	}
	return "", refuse(schema.Invalid, `name it: {"pv":"A"}; GET /api/v1/unjoined lists PVs that are aliases`, "the IOC of %s calls it by no other name", pv)
}

// appendAndAlias is the Appliance's request for a join.
func (s *Server) appendAndAlias(w http.ResponseWriter, r *http.Request) error {
	l, err := readListing(r)
	if err == nil {
		err = l.need("olderpv", "newerpv", "storage")
	}
	if err != nil {
		return err
	}
	var infos []*schema.TypeInfo
	for _, name := range []string{"olderpv", "newerpv"} {
		pv, err := schema.ParsePVName(l.values.Get(name))
		if err != nil {
			return err
		}
		info, err := s.registered(pv)
		if err != nil {
			return err
		}
		infos = append(infos, info)
	}
	older, newer := infos[0], infos[1]
	for _, info := range infos {
		if info.State == schema.Archiving {
			return s.cannot(w, "Cannot append unless PV %s is paused.", info.PV)
		}
	}
	switch {
	case older == newer:
		return refuse(schema.Invalid, "name two PVs", "%s cannot be appended to itself", older.PV)
	case older.DBRType != newer.DBRType:
		return s.cannot(w, "The PVs %s and %s are of different DBR Types. Cannot consolidate.", older.PV, newer.PV)
	case !s.hasStore(newer, l.values.Get("storage")):
		return s.cannot(w, "Cannot find storage with name %s for pv %s", l.values.Get("storage"), newer.PV)
	}
	done, err := s.join(r.Context(), actorOf(r, l), older.PV, newer.PV, false, false)
	if schema.CodeOf(err) == schema.Conflict {
		return s.cannot(w, "%v", err)
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok", "deleteOlder": "ok", "addAlias": "ok",
		"desc": fmt.Sprintf("%d samples of %s went into %s, %d were there already", done.Merged, older.PV, newer.PV, done.There)})
	return nil
}

// How far back and ahead mergeInData asks if it is not told: the Appliance's.
const (
	mergeBack  = 62 * 24 * time.Hour
	mergeAhead = 31 * 24 * time.Hour
)

// mergeInData merges what another archiver has of a paused PV into its files.
// The store that the Appliance merges into is checked and not used: each sample
// goes into the store whose files cover its time.
func (s *Server) mergeInData(w http.ResponseWriter, r *http.Request) error {
	l, info, err := s.one(r)
	if err == nil {
		err = l.need("other", "storage")
	}
	if err != nil {
		return err
	}
	if info.State == schema.Archiving {
		return s.cannot(w, "Need to pause PV before changing type for %s", info.PV) // the Appliance's words
	}
	q, err := external(l, info.PV, time.Now())
	if err != nil {
		return err
	}
	switch {
	case !s.hasStore(info, l.values.Get("storage")):
		return s.cannot(w, "Cannot find storage with name %s for pv %s", l.values.Get("storage"), info.PV)
	case s.options.MergeIn == nil:
		return refuse(schema.Unavailable, "start pvlog with an archive", "this server cannot merge data")
	}
	moved, err := s.options.MergeIn(r.Context(), q)
	if err != nil {
		return err
	}
	if left := moved.Differs + moved.Waits; left > 0 {
		why := fmt.Sprintf("%d stand at instants at which the PV has another value", moved.Differs)
		if moved.Waits > 0 {
			why += fmt.Sprintf(", %d: %v", moved.Waits, moved.Why)
		}
		return s.cannot(w, "%d of %d samples were not merged into %s: %s", left, moved.Samples, info.PV, why)
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok",
		"desc": fmt.Sprintf("%d samples were merged into %s, %d were there already", moved.Merged, info.PV, moved.There)})
	return nil
}

// external reads where the samples are.
func external(l listing, pv schema.PVName, now time.Time) (q External, err error) {
	const hint = "other is the data_retrieval_url of the archiver, such as http://host:17665/retrieval"
	q = External{PV: pv, From: now.Add(-mergeBack), To: now.Add(mergeAhead)}
	for name, at := range map[string]*time.Time{"from": &q.From, "to": &q.To} {
		if text := l.values.Get(name); text != "" {
			if *at, err = parseTime(name, text); err != nil {
				return q, err
			}
		}
	}
	if q.To.Before(q.From) {
		return q, refuse(schema.Invalid, "give an earlier from, or a later to", "For request, end %v is before start %v for pv %s", q.To, q.From, pv)
	}
	base, err := url.Parse(l.values.Get("other"))
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return q, refuse(schema.Invalid, hint, "other=%q is no address of an archiver", cutText(l.values.Get("other")))
	}
	q.Raw = base.JoinPath("data", "getData.raw")
	q.Raw.RawQuery = url.Values{"pv": {string(pv)}, "from": {isoTime(q.From)}, "to": {isoTime(q.To)}, "skipExternalServers": {"true"}}.Encode()
	return q, nil
}
