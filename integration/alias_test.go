package integration

import (
	"net/url"
	"testing"

	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
)

// TestAnAliasIsArchivedOnceUnderItsRealName, whatever was asked for, and a
// request by either name finds it.
func TestAnAliasIsArchivedOnceUnderItsRealName(t *testing.T) {
	ioc, s := simulated(t, simioc.Record{Name: "real", Aliases: []string{"alias"}, Type: ca.DBRDouble, Value: 1.0,
		Units: "mm", Desc: "a motor", Limits: simioc.Limits{HIHI: 9, Alarm: true}})
	s.start()
	s.mustGet("/mgmt/bpl/archivePV", url.Values{"pv": {"sim:alias,sim:alias.HIHI"}})
	s.awaitConnected("sim:real", "sim:real.HIHI")
	if err := ioc.Put("sim:real", 2.0); err != nil {
		t.Fatal(err)
	}
	for pv, n := range map[string]int{"sim:real": 2, "sim:real.HIHI": 1} {
		s.awaitSamples(pv, n)
	}
	s.archive("sim:real") // by its other name: it is being archived already
	s.stop()
	s.start() // aliases are known from the registry
	s.awaitConnected("sim:real")
	s.stop()
	for pv, samples := range readStore(t, s.storeRoot()) {
		if pv != "sim:real" && pv != "sim:real.HIHI" {
			t.Errorf("%d samples of %s are stored", len(samples), pv)
		}
	}
}
