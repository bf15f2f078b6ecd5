package web

import (
	"context"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// Policies are what the site's policy file says. A nil function is one that
// this server does not have.
type Policies struct {
	// Request completes what is asked for a PV as far as its name decides, or
	// refuses it: an unknown policy, or one that keeps the PV out.
	Request func(*registry.Request) error
	// List gives the policies that a user may ask for by name.
	List func() []Policy
	// File gives the policy file's name and text, and what is wrong with the
	// newest version, if the one in force is an older one.
	File func() (name string, text []byte, fault error)
	// Preview tells what the policies in force would change at registered PVs
	// that a glob fits, as [Policies.Apply] does.
	Preview func(ctx context.Context, glob string) ([]PolicyChange, error)
	// Apply makes those changes, under one change id. What was changed by
	// somebody else meanwhile is judged anew.
	Apply func(ctx context.Context, actor registry.Actor, glob string) ([]PolicyChange, error)
	// Reload reads the file now; its error is that of the file, and then the
	// policies in force stay.
	Reload func() error
}

// Policy is a policy that can be asked for by name.
type Policy struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// PolicyChange is what the policies in force would change at a PV, or have.
type PolicyChange struct {
	PV      schema.PVName  `json:"pv"`
	Policy  string         `json:"policy"`            // that decided
	Why     string         `json:"why"`               // rule, file and line
	Stop    bool           `json:"stop,omitempty"`    // it is not to be archived any more
	Changes []SettingDelta `json:"changes,omitempty"` // in the order of their names
	Error   string         `json:"error,omitempty"`   // why it cannot be, or was not, done
}

// SettingDelta is one setting's change, as text.
type SettingDelta struct {
	Name string `json:"name"`
	From string `json:"from"`
	To   string `json:"to"`
}

// list is List of a server that may have none.
func (p Policies) list() []Policy {
	if p.List == nil {
		return []Policy{{Name: "Default", Description: "every update of the IOC"}}
	}
	return p.List()
}

// file is File of a server that may have none.
func (p Policies) file() (name string, text []byte, fault error) {
	if p.File == nil {
		return "", []byte("every update of the IOC is archived\n"), nil
	}
	return p.File()
}

// admit requests PVs as far as the policies let it. There is a result for
// each request, in their order.
func (s *Server) admit(ctx context.Context, actor registry.Actor, requests ...registry.Request) []registry.Result {
	results := make([]registry.Result, len(requests))
	var asked []registry.Request
	var places []int
	for i, q := range requests {
		if s.options.Policies.Request != nil {
			if err := s.options.Policies.Request(&q); err != nil {
				results[i] = registry.Result{PV: q.PV, Err: err}
				continue
			}
		}
		asked, places = append(asked, q), append(places, i)
	}
	for i, result := range s.options.Registry.Archive(ctx, actor, asked...) {
		results[places[i]] = result
	}
	return results
}
