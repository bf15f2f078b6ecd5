package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"pvlog/schema"
)

// guard decides who may send a request that changes something (design D17).
// Such requests are GETs in the Appliance's API, so any page that an operator
// looks at could send one with an <img>.
type guard struct {
	// set by newGuard, read-only
	token [sha256.Size]byte
	has   bool // a token was given
	open  bool
	hosts map[string]bool
}

func newGuard(token string, open bool, hosts []string) *guard {
	g := &guard{token: sha256.Sum256([]byte(token)), has: token != "", open: open,
		hosts: map[string]bool{"localhost": true}}
	if name, err := os.Hostname(); err == nil {
		g.hosts[strings.ToLower(name)] = true
	}
	for _, h := range hosts {
		g.hosts[strings.ToLower(h)] = true
	}
	return g
}

// check gives nil if the request may change something.
func (g *guard) check(r *http.Request) error {
	if err := checkPage(r); err != nil {
		return err
	}
	if g.authorized(r) { // a page on a rebound name cannot know the token
		return nil
	}
	if !g.known(r.Host) {
		return refuse(schema.Forbidden, "call the server by its address or host name, or send the token: Authorization: Bearer TOKEN",
			"this server is not called %q, so a request that changes something is refused", r.Host)
	}
	if g.open || local(r) {
		return nil
	}
	return &refusal{status: http.StatusUnauthorized,
		err:     schema.Errorf(schema.Forbidden, "from another machine, %s needs the token", r.URL.Path),
		headers: map[string]string{"WWW-Authenticate": `Basic realm="pvlog", charset="UTF-8"`}}
}

// authorized reports whether the request carries the token, as Bearer or as
// the password of Basic. Hashing makes the comparison take the same time for
// guesses of any length.
func (g *guard) authorized(r *http.Request) bool {
	if !g.has {
		return false
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		if _, given, ok = r.BasicAuth(); !ok {
			return false
		}
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(given)))
	return subtle.ConstantTimeCompare(sum[:], g.token[:]) == 1
}

// known reports whether host is one of our names. An address is always known:
// only a name can be rebound to us by somebody else's DNS.
func (g *guard) known(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.ToLower(strings.Trim(name, "[]")), ".")
	return net.ParseIP(name) != nil || g.hosts[name]
}

// checkPage refuses what a page of another site made a browser send. Browsers
// send Sec-Fetch-Site to localhost and over TLS only, and Origin not with
// every GET, so a browser must show at least one sign of where it comes from.
func checkPage(r *http.Request) error {
	const hint = "send it from pvlog's own pages, from a script, or with curl"
	site := r.Header.Get("Sec-Fetch-Site")
	if site != "" && site != "same-origin" && site != "none" {
		return refuse(schema.Forbidden, hint, "a page of another site (Sec-Fetch-Site: %s) may not change anything here", site)
	}
	origin, referer := r.Header.Get("Origin"), r.Header.Get("Referer")
	if origin != "" && !sameHost(origin, r.Host) {
		return refuse(schema.Forbidden, hint, "a page of %s may not change anything here", origin)
	}
	if referer != "" && !sameHost(referer, r.Host) {
		return refuse(schema.Forbidden, hint, "a page of %s may not change anything here", referer)
	}
	browser := strings.HasPrefix(r.UserAgent(), "Mozilla/")
	if browser && site == "" && origin == "" && referer == "" {
		return refuse(schema.Forbidden, hint, "the browser does not tell which page sent this request, so it may not change anything")
	}
	return nil
}

func sameHost(page, host string) bool {
	u, err := url.Parse(page)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

// local reports whether the request came over a loopback listener straight
// from this machine. What a proxy on this machine passes on is not local.
func local(r *http.Request) bool {
	if r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != "" {
		return false
	}
	if loopback, known := r.Context().Value(loopbackKey{}).(bool); known {
		return loopback
	}
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && isLoopback(addr)
}
