package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"pvlog/schema"
)

// apiPrefix is where the versioned API is; what stands below it answers errors
// as problem details (RFC 9457).
const apiPrefix = "/api/v1"

// underAPI reports whether a path is one of the versioned API, known or not.
func underAPI(path string) bool { return path == apiPrefix || strings.HasPrefix(path, apiPrefix+"/") }

// problem is an error of /api/v1. Code is the word for programs, Hint says
// what to do.
type problem struct {
	Type     string        `json:"type"`
	Title    string        `json:"title"`
	Status   int           `json:"status"`
	Detail   string        `json:"detail"`
	Instance string        `json:"instance,omitempty"`
	Code     string        `json:"code"`
	Hint     string        `json:"hint,omitempty"`
	PV       schema.PVName `json:"pv,omitempty"`
}

// problemKinds are the words for each status.
var problemKinds = map[int]struct{ code, title string }{
	http.StatusBadRequest:            {"invalid", "The request makes no sense as it stands"},
	http.StatusUnauthorized:          {"unauthorized", "The token is needed"},
	http.StatusForbidden:             {"forbidden", "The request may not do this"},
	http.StatusNotFound:              {"not_found", "There is no such thing"},
	http.StatusMethodNotAllowed:      {"method_not_allowed", "The path does not take this method"},
	http.StatusConflict:              {"conflict", "The request clashes with the present state"},
	http.StatusPreconditionFailed:    {"precondition_failed", "Somebody else has changed it"},
	http.StatusRequestEntityTooLarge: {"too_large", "The request is too large"},
	http.StatusUnsupportedMediaType:  {"unsupported_media_type", "The body is in a format that is not read here"},
	http.StatusInternalServerError:   {"internal", "pvlog failed"},
	http.StatusNotImplemented:        {"not_implemented", "This server cannot do this"},
	http.StatusServiceUnavailable:    {"unavailable", "Not now"},
}

// problemHints say what to do where nobody knew better.
var problemHints = map[string]string{
	"invalid":             "correct the request; /api/v1/openapi.json describes it",
	"not_found":           "check the spelling; GET /api/v1/pvs?glob=* lists the PVs, GET / the paths",
	"conflict":            "look at the present state with GET /api/v1/pvs/{pv}",
	"precondition_failed": "read it again, and repeat the change with the new ETag if it is still wanted",
	"forbidden":           "send the token of the server's data directory: Authorization: Bearer TOKEN",
	"unauthorized":        "send the token of the server's data directory: Authorization: Bearer TOKEN",
	"too_large":           "send the PVs in several requests",
	"unavailable":         "try again; /healthz says what is wrong",
	"internal":            "the server's log says why; /healthz shows its state",
}

// problemOf words an error for a client. The text of one that is not meant for
// users goes to the log, under a number that the answer names.
func (s *Server) problemOf(path string, pv schema.PVName, err error) problem {
	code := schema.CodeOf(err)
	p := problem{Status: statusOf[code], Detail: err.Error(), PV: pv}
	ref, refused := errors.AsType[*refusal](err)
	if refused && ref.status != 0 {
		p.Status = ref.status
	}
	kind := problemKinds[p.Status]
	p.Code, p.Title, p.Hint = kind.code, kind.title, problemHints[kind.code]
	p.Type = "urn:pvlog:problem:" + kind.code
	if refused && ref.hint != "" {
		p.Hint = ref.hint
	}
	if p.Status == http.StatusInternalServerError {
		number := s.metrics.faults.Add(1)
		s.logger.Error("request failed", "path", path, "pv", pv, "fault", number, "err", err)
		p.Detail = fmt.Sprintf("pvlog could not answer; its log says why under fault=%d", number)
	}
	return p
}

// writeProblem answers a request below /api/v1 with what went wrong.
func (s *Server) writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	p := s.problemOf(r.URL.Path, schema.PVName(r.PathValue("pv")), err)
	p.Instance = r.URL.EscapedPath()
	if ref, ok := errors.AsType[*refusal](err); ok {
		for name, val := range ref.headers {
			w.Header().Set(name, val)
		}
	}
	if p.Status == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(p) // numbers and texts only
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_, _ = w.Write(b.Bytes())
}
