package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"pvlog/consumers/partition"
	"pvlog/consumers/registry"
	"pvlog/schema"
)

// renamePV gives a paused PV another name: its settings, state and a copy of
// its data. As in the Appliance the old name with its data, and its aliases,
// stays until it is deleted, and both are paused.
//
// The data come first: the files are copied and put in place, then the new name
// is registered. So a registered name always has all of its data, and whatever
// stops in between, the old name is as it was and the command can be repeated.
func (s *Server) renamePV(w http.ResponseWriter, r *http.Request) error {
	l, info, err := s.one(r)
	if err != nil {
		return err
	}
	if l.values.Get("newname") == "" {
		return refuse(schema.Invalid, "add newname=NAME to the request", "the parameter newname is missing")
	}
	name, err := schema.ParsePVName(l.values.Get("newname"))
	if err != nil {
		return err
	}
	old := info.PV
	switch found, exists := s.options.Registry.Resolve(name); {
	case info.State == schema.Archiving:
		return s.cannot(w, "Need to pause PV before renaming %s to %s", old, name)
	case exists && found.Field == "":
		return s.cannot(w, "While renaming PV  %s to %s, the new name  already exists ", old, name) // the Appliance's spaces
	case s.options.CopyData == nil:
		return refuse(schema.Unavailable, "start pvlog with an archive", "this server cannot copy data")
	}
	commit := func() error {
		// The end of the request must not leave open whether the name was taken.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), commitTime)
		defer cancel()
		return s.register(ctx, actorOf(r, l), old, name)
	}
	if err := s.options.CopyData(r.Context(), old, name, commit); err != nil {
		if schema.CodeOf(err) == schema.Conflict {
			return s.cannot(w, "%v", err)
		}
		return err
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok", "desc": fmt.Sprintf("Successfully renamed PV %s to %s", old, name)})
	return nil
}

// commitTime bounds the registration of a name whose files are in place: the
// archive waits for it.
const commitTime = 10 * time.Second

// register registers a PV, paused, as another one is.
func (s *Server) register(ctx context.Context, actor registry.Actor, old, name schema.PVName) error {
	info, ok := s.options.Registry.Get(old)
	if !ok || info.State == schema.Archiving {
		return schema.Errorf(schema.Conflict, "PV %s was deleted or resumed while its data were copied", old)
	}
	next := *info
	next.PV, next.State = name, schema.Paused
	return s.options.Registry.Define(ctx, actor, registry.Definition{Info: next, From: old})[0].Err
}

// cannot answers why something is not done, as the Appliance does: with 200.
func (s *Server) cannot(w http.ResponseWriter, format string, args ...any) error {
	writeJSON(w, http.StatusOK, map[string]string{"validation": fmt.Sprintf(format, args...)})
	return nil
}

// modifyStoreURL changes the plugin URL that a paused PV's PVTypeInfo states
// for one of its stores, and nothing else.
func (s *Server) modifyStoreURL(w http.ResponseWriter, r *http.Request) error {
	l, info, err := s.one(r)
	if err != nil {
		return err
	}
	storage, next := l.values.Get("storage"), l.values.Get("plugin_url")
	if storage == "" || next == "" {
		return refuse(schema.Invalid, "add storage=NAME&plugin_url=URL to the request", "storage or plugin_url is missing")
	}
	if _, err := storeName(next); err != nil {
		return err
	}
	if info.State == schema.Archiving {
		return schema.Errorf(schema.Conflict, "PV is not paused %s", info.PV)
	}
	urls := slices.Clone(s.storeURLs(info))
	place := slices.IndexFunc(urls, func(u string) bool { name, err := storeName(u); return err == nil && name == storage })
	if place < 0 {
		return refuse(schema.NotFound, "/mgmt/bpl/getStoresForPV lists the PV's stores", "Cannot find store with name %s", storage)
	}
	urls[place] = next
	edit := registry.Edit{PV: info.PV, Change: func(set *schema.Settings) error { set.Stores = urls; return nil }}
	if err := s.options.Registry.Configure(r.Context(), actorOf(r, l), edit)[0].Err; err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok",
		"desc": fmt.Sprintf("The PVTypeInfo of %s states %s for %s now; its samples go to the stores that this server is set up with, and no data were moved", info.PV, next, storage)})
	return nil
}

// storeName is the name of the store that a plugin URL of the Appliance
// describes.
func storeName(plugin string) (string, error) {
	const hint = "such as pb://localhost?name=STS&rootFolder=/data/sts&partitionGranularity=PARTITION_HOUR"
	u, err := url.Parse(plugin)
	if err != nil || !slices.Contains([]string{"pb", "parquet", "pbraw", "blackhole", "merge", "rtree"}, u.Scheme) {
		return "", refuse(schema.Invalid, hint, "Cannot parse URL %s", plugin)
	}
	values := u.Query()
	name := values.Get("name")
	if u.Scheme != "pb" && u.Scheme != "parquet" {
		return name, nil
	}
	if name == "" || values.Get("rootFolder") == "" {
		return "", refuse(schema.Invalid, hint, "Cannot parse URL %s: it states no name or no rootFolder", plugin)
	}
	if _, err := partition.ParseGranularity(values.Get("partitionGranularity")); err != nil {
		return "", refuse(schema.Invalid, hint, "Cannot parse URL %s: %v", plugin, err)
	}
	return name, nil
}
