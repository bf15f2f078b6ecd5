package web

import (
	"context"
	"net/http"
	"time"

	"pvlog/schema"
)

// Link is one link of the way of a PV's samples, from its name to its file.
type Link struct {
	Name   string    `json:"link"`           // name, registry, policy, gate, search, circuit, channel, rights, subscription, update, log, filter, buffer, file, space
	State  LinkState `json:"state"`          // ok, waiting, broken or unknown
	Detail string    `json:"detail"`         // what was found, for people
	Since  time.Time `json:"since,omitzero"` // it has been so
	Do     string    `json:"do,omitempty"`   // what a person can do
}

// LinkState says whether a link holds.
type LinkState string

// The states of a link.
const (
	LinkOK      LinkState = "ok"
	LinkWaiting LinkState = "waiting" // nothing is wrong, but samples do not pass at this moment
	LinkBroken  LinkState = "broken"
	LinkUnknown LinkState = "unknown" // cannot be seen from here, mostly because an earlier one is broken
)

// Diagnosis says why the samples of a PV reach their file, or do not.
type Diagnosis struct {
	Asked   string `json:"asked"`
	PV      string `json:"pv"`      // that the name stands for
	Verdict string `json:"verdict"` // in a sentence
	Broken  string `json:"broken"`  // the first link that does not hold, "" if all do
	Links   []Link `json:"links"`   // in the order of the way
}

// Why walks the way of a PV's samples. The name may be any text. It may take a
// few seconds for a PV that is not archived, which is searched then.
type Why func(ctx context.Context, name string) (Diagnosis, error)

// Conclude sets Broken and Verdict by the links.
func (d *Diagnosis) Conclude() {
	d.Broken, d.Verdict = "", "samples reach their file"
	for _, want := range []LinkState{LinkBroken, LinkWaiting} {
		for _, l := range d.Links {
			if l.State != want {
				continue
			}
			d.Broken, d.Verdict = l.Name, l.Detail
			if l.Do != "" {
				d.Verdict += ": " + l.Do
			}
			return
		}
	}
}

// getWhy answers a [Diagnosis], whatever the name is: one that cannot be is
// told by its first link.
func (s *Server) getWhy(w http.ResponseWriter, r *http.Request) error {
	if s.options.Why == nil {
		return refuse(schema.Unavailable, "ask the server that archives the PV", "this server cannot look into its parts")
	}
	d, err := s.options.Why(r.Context(), r.PathValue("pv"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, d)
	return nil
}
