package web

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"pvlog/schema"
)

// route is one path of the API, or one method of it.
type route struct {
	path    string // exact, or a pattern of /api/v1: see paths.go
	method  string // the only one it takes (GET with HEAD); "": GET, and what post says
	query   string // its parameters, for the index
	summary string
	post    bool  // POST is allowed beside GET and HEAD
	changes bool  // passes the guard; no HEAD
	body    int64 // bytes that a request's body may have; 0: Options.MaxBody
	handle  func(w http.ResponseWriter, r *http.Request) error
}

func (s *Server) allRoutes() []*route {
	routes := slices.Concat(s.changeRoutes(), s.readRoutes(), s.retrievalRoutes(), s.pvRoutes(), s.partitionRoutes(), s.commandRoutes(), s.registryRoutes(), s.replayRoutes(), s.policyRoutes(), s.configurationRoutes())
	return append(routes,
		&route{path: "/api/v1/drops", method: http.MethodGet, query: "pv=GLOB&reason=WORD,WORD&since=24h&until=TIME&limit=1000&after=CURSOR&format=json", summary: "samples that no partition could hold, with the reason, as JSON or CSV", handle: s.getDrops},
		&route{path: "/api/v1/drops/summary", method: http.MethodGet, query: "pv=GLOB&reason=WORD&since=24h&until=TIME&top=20", summary: "how many samples were dropped for each reason, and of which PVs", handle: s.summarizeDrops},
		&route{path: "/api/v1/pvs/{pv}/why", method: http.MethodGet, summary: "why samples of a PV reach their file, or at which link they do not", handle: s.getWhy},
		&route{path: "/api/v1/openapi.json", method: http.MethodGet, summary: "the OpenAPI document of /api/v1", handle: s.openAPI},
		&route{path: "/healthz", summary: "200 while all is well, 503 with what is not", handle: s.healthz},
		&route{path: "/metrics", summary: "Prometheus metrics", handle: s.showMetrics},
		&route{path: "/", summary: "this list", handle: s.index},
	)
}

func (s *Server) retrievalRoutes() []*route {
	routes := []*route{
		{path: "/retrieval/bpl/getMatchingPVs", query: "pv=GLOB or regex=RE&limit=500", summary: "names of PVs", handle: s.getMatchingPVs},
		{path: "/retrieval/bpl/searchForPVsRegex", query: "regex=RE", summary: "names of PVs, one a line", handle: s.searchForPVs},
		{path: "/retrieval/bpl/getMetadata", query: "pv=A", summary: "all that is known of a PV, fields included", handle: s.forPV(s.getMetadata)},
		{path: "/retrieval/bpl/areWeArchivingPV", query: "pv=A", summary: "whether a PV is registered here", handle: s.areWeArchiving},
		{path: "/retrieval/bpl/filterArchivedPVs", method: http.MethodPost, query: listedPVs, summary: "which names of a list are archived", handle: s.sieve(true)},
		{path: "/retrieval/bpl/getPVDetails", query: onePVQuery, summary: "requests for a PV's samples", handle: s.forPV(s.retrievalPVDetails)},
		{path: "/retrieval/bpl/getApplianceMetrics", summary: "requests for samples", handle: withValues(s.retrievalMetrics)},
		{path: "/retrieval/bpl/getApplianceMetricsForAppliance", query: identityHere, summary: "the same", handle: withValues(s.retrievalMetrics)},
		{path: "/retrieval/bpl/getInstanceMetricsForAppliance", query: identityHere, summary: "the same", handle: withValues(s.retrievalMetrics)},
		{path: "/retrieval/bpl/getProcessMetrics", summary: "a day of load and memory", handle: s.processMetrics("RETRIEVAL")},
		{path: "/retrieval/bpl/getClientConfig", query: "configFile=NAME", summary: "404: no files of clients are kept", handle: withValues(s.clientConfig)},
		{path: "/retrieval/bpl/getVersion", summary: "version of pvlog", handle: s.getVersion},
		{path: "/retrieval/bpl/ping", summary: "pong", handle: ping},
		{path: "/retrieval/ping", summary: "pong", handle: ping},
	}
	for _, ext := range extensions() {
		routes = append(routes, &route{path: dataPath + ext, query: "pv=A&from=TIME&to=TIME", summary: "samples as " + ext, handle: s.getData(ext)})
	}
	return routes
}

// Handler answers all requests.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// serve finds the route, lets the guard judge, and accounts for the request.
func (s *Server) serve(rw http.ResponseWriter, r *http.Request) {
	began := time.Now()
	w := &answer{ResponseWriter: rw, control: http.NewResponseController(rw), stall: s.options.Stall}
	rt, err := s.routeOf(r)
	label := "other"
	if rt != nil {
		label = rt.path
	}
	defer func() { s.account(w, r, label, began) }()
	defer s.recovered(w, r)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if strings.HasPrefix(r.URL.Path, "/retrieval/") {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		if r.Method == http.MethodOptions {
			preflight(w)
			return
		}
	}
	if err == nil {
		err = s.handle(rt, w, r)
	}
	if err != nil {
		s.writeError(w, r, err)
	}
}

func (s *Server) handle(rt *route, w http.ResponseWriter, r *http.Request) error {
	if err := rt.allows(r.Method); err != nil {
		return err
	}
	if rt.changes {
		if err := s.guard.check(r); err != nil {
			return err
		}
	}
	r.Body = http.MaxBytesReader(w, r.Body, or(rt.body, s.options.MaxBody))
	return rt.handle(w, r)
}

// allows gives the error of a method that the route does not take.
func (rt *route) allows(method string) error {
	if slices.Contains(rt.methods(), method) {
		return nil
	}
	return notAllowed(rt.path, method, rt.methods())
}

// methods are those that the route takes.
func (rt *route) methods() []string {
	switch {
	case rt.method != "" && (rt.method != http.MethodGet || rt.changes):
		return []string{rt.method}
	case rt.changes && rt.post:
		return []string{http.MethodGet, http.MethodPost}
	case rt.changes:
		return []string{http.MethodGet}
	case rt.post:
		return []string{http.MethodGet, http.MethodHead, http.MethodPost}
	}
	return []string{http.MethodGet, http.MethodHead}
}

func notAllowed(path, method string, methods []string) error {
	allow := strings.Join(methods, ", ")
	ref := refuse(schema.Invalid, "use one of "+allow, "%s does not take %s", path, method).as(http.StatusMethodNotAllowed)
	ref.headers = map[string]string{"Allow": allow}
	return ref
}

// preflight answers a browser that asks whether it may read from elsewhere.
func preflight(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "*")
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}

// recovered ends a request whose handler panicked without ending it well.
func (s *Server) recovered(w *answer, r *http.Request) {
	cause := recover()
	if cause == nil {
		return
	}
	if cause == http.ErrAbortHandler || w.status != 0 {
		if cause != http.ErrAbortHandler {
			s.logger.Error("request panicked", "path", r.URL.Path, "err", cause, "stack", string(debug.Stack()))
		}
		panic(http.ErrAbortHandler)
	}
	s.writeError(w, r, fmt.Errorf("panic: %v\n%s", cause, debug.Stack()))
}

func (s *Server) account(w *answer, r *http.Request, label string, began time.Time) {
	took := time.Since(began)
	s.metrics.requests.WithLabelValues(label, strconv.Itoa(w.status)).Inc()
	s.metrics.seconds.WithLabelValues(label).Add(took.Seconds())
	s.metrics.bytes.Add(float64(w.bytes))
	s.logger.Debug("request", "method", r.Method, "url", r.URL.String(), "status", w.status,
		"bytes", w.bytes, "took", took, "remote", r.RemoteAddr)
}

// answer counts what is answered and drops a client that takes nothing.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	status  int // 0: nothing was answered yet
	bytes   int64
}

// WriteHeader notes the status.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write gives the client the stall time to take these bytes.
func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	_ = a.control.SetWriteDeadline(time.Now().Add(a.stall)) // not every test's writer can
	n, err := a.ResponseWriter.Write(b)
	a.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController find the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
