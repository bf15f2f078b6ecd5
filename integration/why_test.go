package integration

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"pvlog/consumers/web"
	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
)

// why is what the server says of a name.
func (s *server) why(name string) (d web.Diagnosis, err error) {
	err = s.getJSON("/api/v1/pvs/"+url.PathEscape(name)+"/why", nil, &d)
	return d, err
}

// awaitWhy waits until the first link that does not hold is the given one.
func (s *server) awaitWhy(name, broken, words string) {
	s.t.Helper()
	s.waitUntil(startTimeout, fmt.Sprintf("%s to break at %q", name, broken), func() error {
		d, err := s.why(name)
		if err == nil && (d.Broken != broken || !strings.Contains(d.Verdict, words)) {
			err = fmt.Errorf("%+v", d)
		}
		return err
	})
}

// TestWhyNamesTheLinkThatBreaks breaks the way of a PV's samples at one link
// after the other and asks an operator's question.
func TestWhyNamesTheLinkThatBreaks(t *testing.T) {
	ioc, s := simulated(t,
		simioc.Record{Name: "a", Type: ca.DBRDouble, Value: 1.5},
		simioc.Record{Name: "b/c", Type: ca.DBRDouble, Value: 1.5})
	s.start()
	s.awaitWhy("sim:a", "registry", "pvlog archive")
	if d, err := s.why("sim:a"); err != nil || !strings.Contains(fmt.Sprint(d.Links), "found at "+ioc.Addr()) {
		t.Errorf("a PV that nobody asked for, on a living IOC: %v, %+v", err, d)
	}
	s.awaitWhy("not a name", "name", "correct the name")
	s.archive("sim:a")
	s.awaitSamples("sim:a", 1)
	s.awaitWhy("sim:a", "", "reach their file")
	s.awaitWhy("ca://sim:a.VAL", "", "reach their file")
	if err := ioc.Put("sim:a", 2.5); err != nil {
		t.Fatal(err)
	}
	var live struct{ Value float64 }
	if err := s.getJSON("/api/v1/pvs/sim:a/live", url.Values{"timeout": {"10"}}, &live); err != nil || live.Value != 2.5 {
		t.Errorf("live value (S23): %v, %v", live, err)
	}
	if out, code := s.cli("", "archive", "sim:none"); code != 0 {
		t.Fatal(out)
	}
	s.awaitWhy("sim:none", "search", "nobody answered")

	out, code := s.cli("", "why", "sim:b/c")
	if code != 3 || !strings.Contains(out, "nobody has asked") || !strings.Contains(out, "pvlog archive \"sim:b/c\"") {
		t.Errorf("exit %d\n%s", code, out)
	}
	if out, code := s.cli("", "pause", "sim:a"); code != 0 {
		t.Fatal(out)
	}
	s.awaitWhy("sim:a", "registry", "pvlog resume")
	if out, code = s.cli("", "why", "sim:a"); code != 3 || !strings.Contains(out, "BROKEN") || strings.Contains(out, "0001-01-01") {
		t.Errorf("exit %d\n%s", code, out)
	}
	if out, code := s.cli("", "resume", "sim:a"); code != 0 {
		t.Fatal(out)
	}
	s.awaitWhy("sim:a", "", "reach their file")
	s.stop()
}
