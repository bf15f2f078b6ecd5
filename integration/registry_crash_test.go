package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pvlog/consumers/registry"
	"pvlog/schema"
	"pvlog/schema/logpb"
	"pvlog/streams"
)

// killsVariable is the environment variable that says how often the bulk
// command is killed (3 times if it is not set).
const killsVariable = "PVLOG_TEST_KILLS"

// bulkPVs is the number of PVs in the bulk command.
const bulkPVs = 10_000

// TestKilledBulkArchiveIsCompleted_S10_S26 kills pvlog at random moments while
// it archives 10,000 PVs of one request, and while it goes on with that after
// each start. In the end all are archived, each by one event, under one change,
// and the registry is what its log says.
func TestKilledBulkArchiveIsCompleted_S10_S26(t *testing.T) {
	kills := 3
	if n, err := strconv.Atoi(os.Getenv(killsVariable)); err == nil {
		kills = n
	}
	s := newServer(t, []string{"EPICS_CA_ADDR_LIST=127.0.0.1:9", "EPICS_CA_AUTO_ADDR_LIST=NO"})
	s.start()
	posted := s.postBulk()
	opened := false
	for kill := range kills {
		s.killAmid(bulkPVs*(2*kill+rand.IntN(3))/(2*kills), posted)
		found := s.registryEvents()
		if err := found.clean(); err != nil {
			t.Fatalf("kill %d: %v", kill+1, err)
		}
		t.Logf("kill %d: %d PVs are archived, the change is open: %v, closed: %v", kill+1, len(found.requested), found.opened, found.closed)
		opened = found.opened > 0
		s.start()
		posted = nil
		if !opened { // it was killed before there was anything to go on with
			posted = s.postBulk()
		}
	}
	if posted != nil {
		<-posted
	}
	s.waitUntil(2*time.Minute, "all PVs archived", func() error {
		var pvs []string
		if err := s.getJSON("/mgmt/bpl/getAllPVs", map[string][]string{"limit": {"-1"}}, &pvs); err != nil {
			return err
		}
		if len(pvs) != bulkPVs {
			return fmt.Errorf("%d are", len(pvs))
		}
		return s.changesClosed()
	})
	s.stop()
	found := s.registryEvents()
	if err := found.clean(); err != nil {
		t.Fatal(err)
	}
	if found.opened != 1 || found.closed != 1 || len(found.requested) != bulkPVs || found.changed != bulkPVs || found.failed != 0 {
		t.Errorf("%d changes opened, %d closed with %d changed and %d failed, %d PVs", found.opened, found.closed, found.changed, found.failed, len(found.requested))
	}
}

// changesClosed gives an error while a command on many PVs is under way.
func (s *server) changesClosed() error {
	var page struct {
		Changes []struct {
			ID     string
			Closed uint64
		}
	}
	if err := s.getJSON("/api/v1/changes", nil, &page); err != nil {
		return err
	}
	for _, c := range page.Changes {
		if c.Closed == 0 {
			return fmt.Errorf("change %s is not closed", c.ID)
		}
	}
	return nil
}

// postBulk asks for all PVs in one request; the channel is closed when it is
// answered or broken.
func (s *server) postBulk() <-chan struct{} {
	s.t.Helper()
	var names strings.Builder
	for i := range bulkPVs {
		fmt.Fprintf(&names, "NOWHERE:%05d:X\n", i)
	}
	at := "http://" + s.http + "/mgmt/bpl/archivePV"
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		response, err := httpClient.Post(at, "text/plain", strings.NewReader(names.String()))
		if err != nil {
			return // it was killed
		}
		defer func() { _ = response.Body.Close() }()
		var items []map[string]any
		err = json.NewDecoder(response.Body).Decode(&items)
		if err == nil && (response.StatusCode != http.StatusOK || len(items) != bulkPVs) {
			s.t.Errorf("archivePV: %s, %d items", response.Status, len(items))
		}
	}()
	s.t.Cleanup(func() { <-answered })
	return answered
}

// killAmid kills the server a moment after so many PVs are archived, or when
// the request has been answered.
func (s *server) killAmid(pvs int, answered <-chan struct{}) {
	s.t.Helper()
	s.waitUntil(time.Minute, fmt.Sprintf("%d PVs", pvs), func() error {
		select {
		case <-answered:
			return nil
		default:
		}
		page, err := s.get("/metrics", nil)
		if err != nil {
			return err
		}
		count := regexp.MustCompile(`pvlog_registry_pvs\{state="archiving"\} (\d+)`).FindSubmatch(page)
		if count == nil {
			return errors.New("no metric tells")
		}
		n, err := strconv.Atoi(string(count[1]))
		if err == nil && n < pvs {
			err = fmt.Errorf("%d are archived", n)
		}
		return err
	})
	select {
	case <-time.After(time.Duration(rand.Int64N(int64(50 * time.Millisecond)))):
	case <-answered:
	}
	s.kill()
}

// registryFound is what a stopped server's registry log holds.
type registryFound struct {
	requested      map[string]int // events by PV
	ids            map[string]bool
	opened, closed int
	changed        int
	failed         int
	verify         error
}

// clean says what is wrong whatever the moment of the kill.
func (f registryFound) clean() error {
	for pv, n := range f.requested {
		if n != 1 {
			return fmt.Errorf("%s was requested %d times", pv, n)
		}
	}
	if len(f.ids) > 1 {
		return fmt.Errorf("events of %d changes", len(f.ids))
	}
	return f.verify
}

// registryEvents reads the log of a server that does not run, and compares the
// registry's state with it.
func (s *server) registryEvents() registryFound {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	log := streams.New(streams.Options{Dir: filepath.Join(s.data, "log")})
	if err := log.Open(ctx); err != nil {
		s.t.Fatal(err)
	}
	defer func() {
		if err := log.Close(); err != nil {
			s.t.Error(err)
		}
	}()
	found := registryFound{requested: map[string]int{}, ids: map[string]bool{}}
	found.verify = verifyRegistry(ctx, filepath.Join(s.data, "registry"), log.Events())
	last, err := log.Events().Last(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	end := errors.New("end")
	err = log.Events().Follow(ctx, 1, func(seq uint64, e *logpb.RegistryEvent, _ bool) error {
		found.add(e)
		if seq >= last {
			return end
		}
		return nil
	})
	if last > 0 && !errors.Is(err, end) {
		s.t.Fatal(err)
	}
	return found
}

func (f *registryFound) add(e *logpb.RegistryEvent) {
	f.ids[e.GetChangeId()] = true
	switch {
	case e.GetRequested() != nil:
		f.requested[e.GetPv()]++
	case e.GetChangeOpened() != nil:
		f.opened++
	case e.GetChangeClosed() != nil:
		f.closed++
		f.changed, f.failed = int(e.GetChangeClosed().GetChanged()), int(e.GetChangeClosed().GetFailed())
	}
}

// verifyRegistry opens a registry, which is not run, so that it changes nothing,
// and compares it with its log.
func verifyRegistry(ctx context.Context, dir string, events *streams.EventLog) error {
	r := registry.New(registry.Options{Dir: dir, Events: events})
	if err := r.Open(ctx); err != nil {
		return err
	}
	err := r.Verify(ctx)
	infos := r.All()
	if !slices.IsSortedFunc(infos, func(a, b *schema.TypeInfo) int { return strings.Compare(string(a.PV), string(b.PV)) }) {
		err = errors.Join(err, errors.New("PVs are not in order"))
	}
	return errors.Join(err, r.Close())
}
