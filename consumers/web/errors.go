package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"

	"pvlog/schema"
)

// statusOf is the HTTP status of each code.
var statusOf = map[schema.Code]int{
	schema.Invalid:     http.StatusBadRequest,
	schema.NotFound:    http.StatusNotFound,
	schema.Conflict:    http.StatusConflict,
	schema.Forbidden:   http.StatusForbidden,
	schema.Unavailable: http.StatusServiceUnavailable,
	schema.Internal:    http.StatusInternalServerError,
}

// refusal is an error with an HTTP status of its own or a hint what to do.
type refusal struct {
	status  int // 0: by the code of err
	err     error
	hint    string
	headers map[string]string
	fields  map[string]any // further keys of the body
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// refuse makes a refusal with a hint.
func refuse(code schema.Code, hint, format string, args ...any) *refusal {
	return &refusal{err: schema.Errorf(code, format, args...), hint: hint}
}

// as sets the status.
func (r *refusal) as(status int) *refusal {
	r.status = status
	return r
}

// hintOf says what to do where nobody knew better.
var hintOf = map[schema.Code]string{
	schema.Invalid:     "correct the request; GET / lists the paths and their parameters",
	schema.NotFound:    "check the spelling; /retrieval/bpl/getMatchingPVs?pv=* lists the PVs",
	schema.Conflict:    "look at /mgmt/bpl/getPVStatus for the PV's present state",
	schema.Forbidden:   "send the token of the server's data directory: Authorization: Bearer TOKEN",
	schema.Unavailable: "try again; /healthz says what is wrong",
	schema.Internal:    "the server's log says why; /healthz shows its state",
}

// writeError answers with what went wrong. The text of an error that is not
// meant for users stays in the log.
func (s *Server) writeError(w http.ResponseWriter, r *http.Request, err error) {
	if underAPI(r.URL.Path) {
		s.writeProblem(w, r, err)
		return
	}
	code := schema.CodeOf(err)
	body := map[string]any{"error": err.Error(), "code": string(code), "hint": hintOf[code]}
	status := statusOf[code]
	if ref, ok := errors.AsType[*refusal](err); ok {
		maps.Copy(body, ref.fields)
		if ref.hint != "" {
			body["hint"] = ref.hint
		}
		if ref.status != 0 {
			status = ref.status
		}
		for name, val := range ref.headers {
			w.Header().Set(name, val)
		}
	}
	if code == schema.Internal {
		number := s.metrics.faults.Add(1)
		s.logger.Error("request failed", "path", r.URL.Path, "fault", number, "err", err)
		body["error"] = fmt.Sprintf("pvlog could not answer; its log says why under fault=%d", number)
	}
	if status == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	writeJSON(w, status, body)
}

// retryAfter is how long a client should wait after a 503, in seconds.
const retryAfter = 2

// writeJSON answers with v. Content-Type is bare: PyDM compares it literally.
func writeJSON(w http.ResponseWriter, status int, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)              // names hold <, > and &, and nobody takes this for HTML
	if err := e.Encode(v); err != nil { // cannot happen with what this package encodes
		status = http.StatusInternalServerError
		b.Reset()
		b.WriteString(`{"error":"the answer is not JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}
