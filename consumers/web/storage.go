package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"pvlog/consumers/retrieval"
	"pvlog/schema"
)

// storesOf answers the plugin URL of each store of a PV by its name.
func (s *Server) storesOf(w http.ResponseWriter, _ url.Values, n named) error {
	stores := map[string]string{}
	for i, store := range s.storeURLs(n.Info) {
		name, err := storeName(store)
		if err != nil { // one that was registered long ago
			name = "store" + strconv.Itoa(i+1)
		}
		stores[name] = store
	}
	writeJSON(w, http.StatusOK, stores)
	return nil
}

// spaces answers the room of each store. How long copies into it take is not
// known before data move between stores.
func (s *Server) spaces(w http.ResponseWriter, values url.Values) error {
	if err := s.mine(values); err != nil {
		return err
	}
	list := []map[string]string{}
	for _, space := range s.options.Spaces() {
		percent := 0.0
		if space.Total > 0 {
			percent = 100 * float64(space.Free) / float64(space.Total)
		}
		list = append(list, map[string]string{"name": space.Store, "total_space": round(float64(space.Total) / gigabyte),
			"available_space": round(float64(space.Free) / gigabyte), "available_space_percent": round(percent),
			"time_copy_data_into_store": "NaN", "time_copy_data_into_store_percent": "NaN"})
	}
	return writeList(w, list)
}

// storageConsumed lists the PVs whose partitions take most, registered ones
// only; the numbers may be some time old (see retrieval.Consumption).
func (s *Server) storageConsumed(w http.ResponseWriter, r *http.Request) error {
	l, err := readListing(r)
	if err != nil {
		return err
	}
	limit, err := limitOf(l.values, 100)
	if err != nil {
		return err
	}
	walked, err := s.options.Retrieval.Consumption(r.Context())
	if errors.Is(err, context.Canceled) {
		panic(http.ErrAbortHandler) // nobody reads the answer
	}
	if err != nil {
		return err
	}
	rep := report{rank: func(p standing) (float64, bool) {
		n, ok := walked.Bytes[p.info.ChunkKey]
		return float64(n), ok
	}}
	list := newArray(w)
	for _, place := range ordered(s.places(rep), false, limit) {
		list.addTexts(texts{"pvName", string(place.info.PV), "instance", s.options.Identity,
			"storageConsumed", strconv.FormatInt(int64(place.by), 10), "storageConsumedInMB", round(place.by / (1 << 20))})
	}
	list.end()
	return nil
}

// lastKnownEvent answers the stamp of the newest sample of a PV that any store
// holds, or that waits to be written.
func (s *Server) lastKnownEvent(w http.ResponseWriter, _ url.Values, n named) error {
	last, err := s.newest(n.Info)
	if err != nil {
		return err
	}
	if last.IsZero() {
		return refuse(schema.NotFound, "look at /mgmt/bpl/getPVStatus, whether it is connected", "no sample of %s is archived", n.Info.PV)
	}
	writeJSON(w, http.StatusOK, map[string]string{"timestamp": isoTime(last)})
	return nil
}

// newest reads the stamp of a PV's newest sample, zero if there is none.
func (s *Server) newest(info *schema.TypeInfo) (time.Time, error) {
	end := time.Now().AddDate(100, 0, 0) // an IOC's clock may run ahead
	stream, err := s.options.Retrieval.Open(retrieval.Query{PV: info.PV, Key: info.ChunkKey, From: end, To: end})
	if err != nil {
		return time.Time{}, err
	}
	defer func() { _ = stream.Close() }() // files that were only read
	sample, err := stream.Next()
	if errors.Is(err, io.EOF) {
		return time.Time{}, nil
	}
	return time.Unix(sample.Time.Sec, int64(sample.Time.Nsec)), err
}

// readsMax bounds how many files one report reads for times that are not in
// memory: those of PVs that had no sample since the start.
const readsMax = 2000

// lastStamps gives the newest stamps of PVs, zero for none.
func (s *Server) lastStamps(places []ranked) (func(info *schema.TypeInfo) time.Time, error) {
	read := make(map[schema.PVName]time.Time)
	for _, place := range places {
		if len(read) == readsMax {
			break
		}
		if !s.lastEvent(place.info.PV).IsZero() {
			continue
		}
		last, err := s.newest(place.info)
		if err != nil {
			return nil, err
		}
		read[place.info.PV] = last
	}
	return func(info *schema.TypeInfo) time.Time {
		if last := s.lastEvent(info.PV); !last.IsZero() {
			return last
		}
		return read[info.PV]
	}, nil
}

// timeSpan answers when each PV began and its newest sample, as an object with
// the PVs' names as keys.
func (s *Server) timeSpan(w http.ResponseWriter, pvs []*schema.TypeInfo) error {
	last, err := s.lastStamps(unranked(pvs))
	if err != nil {
		return err
	}
	list := newObject(w)
	for _, info := range pvs {
		list.addNamed(string(info.PV), append(span(info), "lastEvent", unixSeconds(last(info))))
	}
	list.end()
	return nil
}

func span(info *schema.TypeInfo) texts {
	return texts{"pvName", string(info.PV), "creationTS", strconv.FormatInt(info.Created.Unix(), 10),
		"paused", strconv.FormatBool(info.State == schema.Paused)}
}

// creations answers when each PV was asked for.
func (s *Server) creations(w http.ResponseWriter, pvs []*schema.TypeInfo) error {
	list := newArray(w)
	for _, info := range pvs {
		list.addTexts(span(info))
	}
	list.end()
	return nil
}

// lastStampReport answers the newest sample of each PV that has a channel.
func (s *Server) lastStampReport(w http.ResponseWriter, pvs []*schema.TypeInfo) error {
	running := slices.DeleteFunc(pvs, func(info *schema.TypeInfo) bool { return !s.standing(info).running })
	last, err := s.lastStamps(unranked(running))
	if err != nil {
		return err
	}
	list := newArray(w)
	for _, info := range running {
		list.addTexts(texts{"pvName", string(info.PV), "lastEvent", unixSeconds(last(info))})
	}
	list.end()
	return nil
}

// unixSeconds writes a time as reports for programs do; 0 is none.
func unixSeconds(t time.Time) string { return strconv.FormatInt(max(0, t.Unix()), 10) }

// unranked are the places of PVs in a report without an order of its own.
func unranked(pvs []*schema.TypeInfo) []ranked {
	places := make([]ranked, len(pvs))
	for i, info := range pvs {
		places[i].info = info
	}
	return places
}
