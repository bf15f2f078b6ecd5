package web

import (
	"net"
	"net/http"
	"sync"
	"time"

	"pvlog/schema"
)

// Bounds of what is remembered of retrieval requests.
const (
	maxVisitors   = 10_000 // addresses in all
	maxVisitorsPV = 32     // addresses of one PV
	maxVisitedPVs = 200_000
)

// visits counts the requests for samples since the start: by PV, and who sent
// them by address. What is beyond the bounds counts as a request only.
type visits struct {
	mu  sync.Mutex
	all visit                    // guarded by mu
	pvs map[schema.PVName]*visit // guarded by mu
}

// visit is what is known of requests for one PV, or for all.
type visit struct {
	requests int
	last     time.Time // zero: never
	users    map[string]bool
}

func (v *visit) add(user string, bound int, now time.Time) {
	v.requests++
	v.last = now
	if v.users == nil {
		v.users = make(map[string]bool)
	}
	if len(v.users) < bound {
		v.users[user] = true
	}
}

// count notes a request for a registered PV.
func (v *visits) count(pv schema.PVName, r *http.Request, now time.Time) {
	user, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		user = r.RemoteAddr
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.all.add(user, maxVisitors, now)
	one := v.pvs[pv]
	if one == nil && len(v.pvs) < maxVisitedPVs {
		if v.pvs == nil {
			v.pvs = make(map[schema.PVName]*visit)
		}
		one = &visit{}
		v.pvs[pv] = one
	}
	if one != nil {
		one.add(user, maxVisitorsPV, now)
	}
}

// of gives the numbers of one PV, or of all for "".
func (v *visits) of(pv schema.PVName) (requests, users int, last time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	one := &v.all
	if pv != "" {
		if one = v.pvs[pv]; one == nil {
			return 0, 0, time.Time{}
		}
	}
	return one.requests, len(one.users), one.last
}
