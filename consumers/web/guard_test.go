package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"pvlog/schema"
)

func TestGuard(t *testing.T) {
	const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	type header = map[string]string
	cases := map[string]struct {
		far     bool // not over a loopback listener
		token   string
		open    bool
		host    string // default 127.0.0.1:17665
		headers header
		want    int // 0: allowed
	}{
		"script on this machine":            {},
		"typed into a browser":              {headers: header{"User-Agent": firefox, "Sec-Fetch-Site": "none"}},
		"our own page":                      {headers: header{"User-Agent": firefox, "Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:17665"}},
		"image on a foreign page":           {headers: header{"User-Agent": firefox, "Sec-Fetch-Site": "cross-site"}, want: 403},
		"page on another port":              {headers: header{"User-Agent": firefox, "Sec-Fetch-Site": "same-site"}, want: 403},
		"form of a foreign page":            {headers: header{"Origin": "https://evil.example"}, want: 403},
		"sandboxed frame":                   {headers: header{"Origin": "null"}, want: 403},
		"foreign referer":                   {headers: header{"User-Agent": firefox, "Referer": "https://evil.example/x"}, want: 403},
		"own referer":                       {headers: header{"User-Agent": firefox, "Referer": "http://127.0.0.1:17665/"}},
		"browser that hides the page":       {headers: header{"User-Agent": firefox}, want: 403},
		"rebound name":                      {host: "evil.example:17665", want: 403},
		"rebound name without port":         {host: "evil.example", want: 403},
		"rebound name, own origin":          {host: "evil.example", headers: header{"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, want: 403},
		"no host":                           {host: "-", want: 403},
		"localhost":                         {host: "localhost:17665"},
		"localhost.":                        {host: "LOCALHOST.:17665"},
		"v6":                                {host: "[::1]:17665"},
		"configured name":                   {host: "Archiver.example:17665"},
		"rebound name, open":                {host: "evil.example", open: true, far: true, want: 403},
		"from afar":                         {far: true, token: "secret", want: 401},
		"from afar, nobody may":             {far: true, want: 401},
		"from afar, open":                   {far: true, open: true},
		"bearer":                            {far: true, token: "secret", headers: header{"Authorization": "Bearer secret"}},
		"bearer by another name":            {far: true, token: "secret", host: "dns.example", headers: header{"Authorization": "Bearer secret"}},
		"basic":                             {far: true, token: "secret", headers: header{"Authorization": "Basic b3A6c2VjcmV0"}},
		"wrong bearer":                      {far: true, token: "secret", headers: header{"Authorization": "Bearer secrex"}, want: 401},
		"prefix of the token":               {far: true, token: "secret", headers: header{"Authorization": "Bearer secre"}, want: 401},
		"empty bearer":                      {far: true, token: "secret", headers: header{"Authorization": "Bearer "}, want: 401},
		"empty bearer, no token":            {far: true, headers: header{"Authorization": "Bearer "}, want: 401},
		"wrong basic":                       {far: true, token: "secret", headers: header{"Authorization": "Basic b3A6"}, want: 401},
		"stored password on a foreign page": {far: true, token: "secret", headers: header{"Authorization": "Basic b3A6c2VjcmV0", "Sec-Fetch-Site": "cross-site"}, want: 403},
		"stored password, hidden page":      {far: true, token: "secret", headers: header{"Authorization": "Basic b3A6c2VjcmV0", "User-Agent": firefox}, want: 403},
		"through a proxy here":              {token: "secret", headers: header{"X-Forwarded-For": "10.0.0.1"}, want: 401},
		"through a proxy here, Forwarded":   {token: "secret", headers: header{"Forwarded": "for=10.0.0.1"}, want: 401},
		"through a proxy here, with token":  {token: "secret", headers: header{"X-Forwarded-For": "10.0.0.1", "Authorization": "Bearer secret"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/mgmt/bpl/archivePV?pv=A", nil)
			r = r.WithContext(context.WithValue(r.Context(), loopbackKey{}, !c.far))
			r.Host = or(c.host, "127.0.0.1:17665")
			if c.host == "-" {
				r.Host = ""
			}
			for name, val := range c.headers {
				r.Header.Set(name, val)
			}
			s := New(Options{Token: c.token, OpenWrites: c.open, Hosts: []string{"archiver.example"}})
			reached := false
			s.routes["/mgmt/bpl/archivePV"].handle = func(http.ResponseWriter, *http.Request) error { reached = true; return nil }
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			if reached != (c.want == 0) || !reached && w.Code != c.want {
				t.Errorf("reached %v, %d %s, want %d", reached, w.Code, w.Body, c.want)
			}
			if c.want == 401 && w.Header().Get("WWW-Authenticate") == "" {
				t.Error("401 does not say how to authenticate")
			}
		})
	}
}

// A request whose origin is unknown needs the token: tests and embedders that
// do not use Serve get no rights by accident.
func TestGuardTrustsNoUnknownConnection(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/mgmt/bpl/archivePV?pv=A", nil)
	r.Host = "127.0.0.1"
	if err := newGuard("x", false, nil).check(r); schema.CodeOf(err) != schema.Forbidden {
		t.Error(err)
	}
}

func TestEveryChangingPathIsGuarded(t *testing.T) {
	s := New(Options{})
	for _, name := range []string{"archivePV", "pauseArchivingPV", "resumeArchivingPV", "stopArchivingPV", "deletePV", "abortArchivingPV"} {
		if rt := s.routes["/mgmt/bpl/"+name]; rt == nil || !rt.changes || rt.allows(http.MethodHead) == nil {
			t.Errorf("%s: %+v", name, rt)
		}
	}
}

func TestListenOffLoopbackNeedsProtection(t *testing.T) {
	for addr, safe := range map[string]bool{"127.0.0.1:17665": true, "127.1.2.3:0": true, "[::1]:0": true, "localhost:1": true,
		":17665": false, "0.0.0.0:17665": false, "[::]:1": false, "10.0.0.1:1": false, "archiver:1": false} {
		if err := CheckListen(addr, "", false); (err == nil) != safe {
			t.Errorf("%s: %v", addr, err)
		}
		if err := CheckListen(addr, "token", false); err != nil {
			t.Errorf("%s with a token: %v", addr, err)
		}
		if err := CheckListen(addr, "", true); err != nil {
			t.Errorf("%s with open writes: %v", addr, err)
		}
	}
	for _, addr := range []string{"", "17665", "127.0.0.1", "::1"} {
		if err := CheckListen(addr, "token", true); schema.CodeOf(err) != schema.Invalid {
			t.Errorf("%q: %v", addr, err)
		}
	}
}
