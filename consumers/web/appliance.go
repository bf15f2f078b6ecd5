package web

import (
	"fmt"
	"html"
	"net/http"
	"strings"
	"time"
)

func ping(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
	_, _ = w.Write([]byte("pong"))
	return nil
}

func (s *Server) version() string { return "pvlog " + s.options.Version }

func (s *Server) getVersion(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]string{"version": s.version()})
	return nil
}

func (s *Server) getVersions(w http.ResponseWriter, _ *http.Request) error {
	v := s.version()
	writeJSON(w, http.StatusOK, map[string]string{
		"mgmt_version": v, "engine_version": v, "etl_version": v, "retrieval_version": v})
	return nil
}

func (s *Server) getApplianceInfo(w http.ResponseWriter, r *http.Request) error {
	writeJSON(w, http.StatusOK, s.appliance(r))
	return nil
}

func (s *Server) getAppliances(w http.ResponseWriter, r *http.Request) error {
	writeJSON(w, http.StatusOK, []map[string]string{s.appliance(r)})
	return nil
}

// appliance gives the parts of the API under the name the client called us by:
// clients use these URLs for all that follows, so they must reach us.
func (s *Server) appliance(r *http.Request) map[string]string {
	base := "http://" + r.Host
	if r.TLS != nil {
		base = "https://" + r.Host
	}
	return map[string]string{
		"identity":         s.options.Identity,
		"version":          s.version(),
		"clusterInetPort":  r.Host,
		"mgmtURL":          base + "/mgmt/bpl",
		"engineURL":        base + "/engine/bpl",
		"etlURL":           base + "/etl/bpl",
		"retrievalURL":     base + "/retrieval/bpl",
		"dataRetrievalURL": base + "/retrieval",
	}
}

// Fault is something that is wrong at the moment.
type Fault struct {
	Part    string    `json:"part"`    // archive, log, registry, ingest ...
	Message string    `json:"message"` // what is wrong and what can be done
	Since   time.Time `json:"since"`
}

// Health is the state of the whole server.
type Health struct {
	Faults  []Fault        `json:"faults"`  // none: healthy
	Details map[string]any `json:"details"` // numbers that tell how it goes, such as the log's lag
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) error {
	health := s.options.Health()
	body := map[string]any{"status": "ok", "faults": health.Faults, "details": health.Details}
	status := http.StatusOK
	if len(health.Faults) > 0 {
		body["status"], status = "faulty", http.StatusServiceUnavailable
	} else {
		body["faults"] = []Fault{}
	}
	writeJSON(w, status, body)
	return nil
}

func (s *Server) showMetrics(w http.ResponseWriter, r *http.Request) error {
	s.probe.ServeHTTP(w, r)
	return nil
}

// index lists the paths, as a page for browsers and as text for others.
func (s *Server) index(w http.ResponseWriter, r *http.Request) error {
	var b strings.Builder
	page := strings.Contains(r.Header.Get("Accept"), "text/html")
	if page {
		w.Header().Set("Content-Type", "text/html;charset=UTF-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		fmt.Fprintf(&b, "<!doctype html><title>pvlog</title><style>body{font:15px sans-serif;margin:2em}td{padding:.2em 1em .2em 0}</style>"+
			"<h1>%s</h1><table>\n", html.EscapeString(s.version()))
	} else {
		w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
		fmt.Fprintf(&b, "%s\n\n", s.version())
	}
	for _, rt := range s.table {
		name := strings.TrimPrefix(rt.method+" "+rt.path, " ")
		switch {
		case page && rt.query == "" && rt.allows(http.MethodHead) == nil && !strings.Contains(rt.path, "{"):
			fmt.Fprintf(&b, "<tr><td><a href=%q>%s</a><td><td>%s\n", rt.path, name, html.EscapeString(rt.summary))
		case page:
			fmt.Fprintf(&b, "<tr><td>%s<td>%s<td>%s\n", name, html.EscapeString(rt.query), html.EscapeString(rt.summary))
		default:
			fmt.Fprintf(&b, "%-38s %-60s %s\n", name, rt.query, rt.summary)
		}
	}
	if page {
		b.WriteString("</table>\n")
	}
	_, _ = w.Write([]byte(b.String()))
	return nil
}
