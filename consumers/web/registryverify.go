package web

import (
	"net/http"

	"pvlog/schema"
)

// verify replays the log from its first event and compares every entry with
// the registry's. A difference is an answer, not an error of the request.
func (s *Server) verify(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	release, err := s.replay(r)
	if err != nil {
		return err
	}
	defer release()
	body := map[string]any{"ok": true, "seq": s.options.Registry.Cursor(), "difference": nil}
	switch err := s.options.Registry.Verify(r.Context()); {
	case err != nil && (r.Context().Err() != nil || schema.CodeOf(err) == schema.Unavailable):
		return err
	case err != nil:
		s.logger.Error("the registry differs from its log", "err", err)
		body["ok"], body["difference"] = false, err.Error()
	}
	writeJSON(w, http.StatusOK, body)
	return nil
}

// replay waits for the turn of a request that replays the log: it costs what
// a start of pvlog does, so there is one at a time.
func (s *Server) replay(r *http.Request) (release func(), err error) {
	select {
	case s.replays <- struct{}{}:
		return func() { <-s.replays }, nil
	case <-r.Context().Done():
		return nil, schema.Errorf(schema.Unavailable, "the request ended before its turn: %w", r.Context().Err())
	}
}
