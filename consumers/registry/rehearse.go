package registry

import "context"

// rehearse decides the steps of a command against the present state and leaves
// it at that.
func (r *Registry) rehearse(ctx context.Context, s *submission) {
	if err := r.ready(); err != nil {
		s.fail(err)
		return
	}
	if err := checkChangeID(s.id); err != nil {
		s.fail(err)
		return
	}
	todo, err := r.prepare(ctx, s, s.open())
	if err != nil {
		s.fail(err)
		return
	}
	for _, c := range r.decide(s, todo) {
		s.results[c.index].Would = true
		s.finish(c.index, nil)
	}
}
