// Package web serves pvlog over HTTP: retrieval, management, health and
// metrics, with the paths, parameters and answers of the Archiver Appliance.
//
// It promises that an answer which could not be completed never looks
// complete, that every refusal is JSON which says what to do, that a request
// which changes something passes the guard of guard.go first, and that no
// client can make it hold more memory, time or files than the limits in
// [Options] allow.
//
// It is driven by [Server.Serve]. Handlers parse, call one method of registry
// or retrieval, and encode; they decide nothing about PVs.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"pvlog/consumers/registry"
	"pvlog/consumers/retrieval"
	"pvlog/schema"
)

// Options says what the server shows and whom it serves.
type Options struct {
	Registry  *registry.Registry   // required
	Retrieval *retrieval.Retrieval // required
	Channels  Channels             // state of the engine's channels; default: none is known
	// DeleteData moves a PV's files away after it was deleted from the
	// registry; default: deletePV with deleteData=true is refused.
	DeleteData func(ctx context.Context, pv schema.PVName) error
	Writes                         // what changing requests need besides
	Drops      DropLog             // the drop log; default: empty
	Replays    Replays             // puts samples back; default: refused
	Health     func() Health       // default: healthy
	Live       Live                // present values; default: refused
	Why        Why                 // walks a PV's way; default: refused
	Partitions Partitions          // the PVs' files; default: refused
	Parts                          // what reports show of the other parts
	Gatherer   prometheus.Gatherer // what /metrics shows; default: nothing

	Token      string   // lets a client change something from afar; "": nobody
	OpenWrites bool     // anybody who can connect may change something
	Hosts      []string // further names this server is called by, without port

	Version  string // shown by getVersions
	Identity string // name of this appliance in answers; default "pvlog"

	MaxRetrievals int           // answers of getData written at once; default 64
	MaxWaiting    int           // requests that may wait for their turn; default 10,000
	MaxWait       time.Duration // how long they may wait; default 20 s
	MaxBody       int64         // bytes of a request's body; default 32 MiB
	Stall         time.Duration // a client that takes nothing for this long is dropped; default 60 s
	Grace         time.Duration // how long Serve lets requests finish; default 5 s

	Logger     *slog.Logger          // default: none
	Registerer prometheus.Registerer // default: none
}

// Server answers HTTP requests. It is safe for concurrent use.
type Server struct {
	// set by New, read-only
	options  Options
	logger   *slog.Logger
	metrics  *metrics
	guard    *guard
	turns    *turns
	names    []string          // paths in the order they are shown
	table    []*route          // in that order
	routes   map[string]*route // of exact paths that have one route
	patterns []*route          // the others: several methods, or a name in the path
	probe    http.Handler
	started  time.Time // when it was made

	visits  visits
	process process
	replays chan struct{} // holds one while a request replays the log
}

// New prepares a server; it does no I/O.
func New(o Options) *Server {
	o = withDefaults(o)
	s := &Server{options: o, logger: o.Logger, metrics: newMetrics(o.Registerer), started: time.Now(), replays: make(chan struct{}, 1),
		guard: newGuard(o.Token, o.OpenWrites, o.Hosts), routes: make(map[string]*route)}
	s.turns = newTurns(o.MaxRetrievals, o.MaxWaiting, o.MaxWait, s.metrics)
	s.probe = promhttp.HandlerFor(o.Gatherer, promhttp.HandlerOpts{})
	s.table = s.allRoutes()
	for _, rt := range s.table {
		if !slices.Contains(s.names, rt.path) {
			s.names = append(s.names, rt.path)
		}
		if rt.method != "" {
			s.patterns = append(s.patterns, rt)
		} else {
			s.routes[rt.path] = rt
		}
	}
	return s
}

func withDefaults(o Options) Options {
	if o.Channels == nil {
		o.Channels = func(schema.PVName) (ChannelStatus, bool) { return ChannelStatus{}, false }
	}
	if o.Drops == nil {
		o.Drops = noDrops{}
	}
	if o.Health == nil {
		o.Health = func() Health { return Health{} }
	}
	o.Parts = o.Parts.withDefaults()
	o.Writes = o.Writes.withDefaults()
	if o.Gatherer == nil {
		o.Gatherer = prometheus.NewRegistry()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Identity = or(o.Identity, "pvlog")
	o.Version = or(o.Version, "unknown")
	o.MaxRetrievals = or(o.MaxRetrievals, 64)
	o.MaxWaiting = or(o.MaxWaiting, 10_000)
	o.MaxWait = or(o.MaxWait, 20*time.Second)
	o.MaxBody = or(o.MaxBody, 32<<20)
	o.Stall = or(o.Stall, time.Minute)
	o.Grace = or(o.Grace, 5*time.Second)
	return o
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Limits of a connection that no option changes.
const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = 5 * time.Minute // for a request with its body
	idleTimeout   = 2 * time.Minute
	maxHeader     = 256 << 10 // clients ask for a thousand PVs in one URL
)

// loopbackKey marks the context of connections whose listener is on loopback.
type loopbackKey struct{}

// Serve answers requests that come over ln until ctx ends, lets running ones
// finish for Options.Grace, cuts the rest and waits for them. It closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	base := context.WithValue(context.WithValue(serving, servingKey{}, serving), loopbackKey{}, isLoopback(ln.Addr()))
	var conns sync.WaitGroup
	srv := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				conns.Add(1)
			case http.StateClosed, http.StateHijacked:
				conns.Done()
			}
		},
	}
	ended := make(chan error, 1)
	var watching sync.WaitGroup
	watching.Go(func() { s.process.run(base) })
	defer watching.Wait()
	defer stop()
	go func() { ended <- srv.Serve(ln) }()
	select {
	case err := <-ended:
		_ = srv.Close()
		conns.Wait()
		return fmt.Errorf("serve http on %v: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	s.shutdown(srv, stop)
	<-ended
	conns.Wait()
	return nil
}

// shutdown lets requests finish for a while, then ends them.
func (s *Server) shutdown(srv *http.Server, stop func()) {
	grace, cancel := context.WithTimeout(context.Background(), s.options.Grace)
	defer cancel()
	if err := srv.Shutdown(grace); errors.Is(err, context.DeadlineExceeded) {
		s.logger.Warn("requests were cut off to stop in time", "grace", s.options.Grace)
	}
	stop()
	_ = srv.Close() // what is still open is cut, which clients see
}

// isLoopback reports whether an address can be reached from this machine only.
func isLoopback(a net.Addr) bool {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}

// CheckListen refuses an address that others could change something through
// while nothing protects it (design D17). addr is host:port.
func CheckListen(addr, token string, openWrites bool) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return schema.Errorf(schema.Invalid, "http address %q: write it as HOST:PORT, such as 127.0.0.1:17665", addr)
	}
	if token != "" || openWrites || host == "localhost" {
		return nil
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return nil
	}
	return schema.Errorf(schema.Forbidden, "http address %q can be reached from other machines, and there is no token: "+
		"set PVLOG_TOKEN (or write DATA/token), listen on 127.0.0.1, or say --open-writes if anybody may archive and delete PVs", addr)
}
