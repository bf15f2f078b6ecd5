package integration

import (
	"fmt"
	"net/url"
	"slices"
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
	s.mustGet("/mgmt/bpl/archivePV", url.Values{"pv": {"sim:alias,sim:alias.MDEL"}})
	s.awaitRealName("sim:alias", "sim:real")
	s.awaitRealName("sim:alias.MDEL", "sim:real.MDEL")
	if err := ioc.Put("sim:real", 2.0); err != nil {
		t.Fatal(err)
	}
	for pv, n := range map[string]int{"sim:real": 2, "sim:alias": 2, "sim:real.MDEL": 1, "sim:alias.MDEL": 1} {
		s.awaitSamples(pv, n)
	}
	s.archive("sim:real") // by its other name: it is being archived already
	s.awaitAliases("sim:alias sim:real", "sim:alias.MDEL sim:real.MDEL")
	s.stop()
	s.start() // aliases are known from the registry
	s.awaitAliases("sim:alias sim:real", "sim:alias.MDEL sim:real.MDEL")
	s.awaitConnected("sim:real")
	s.stop()
	for pv, samples := range readStore(t, s.storeRoot()) {
		if pv != "sim:real" && pv != "sim:real.MDEL" {
			t.Errorf("%d samples of %s are stored", len(samples), pv)
		}
	}
}

// awaitRealName waits until a request has become an alias of a PV that is
// being archived.
func (s *server) awaitRealName(pv, real string) {
	s.t.Helper()
	s.waitUntil(startTimeout, pv+" as "+real, func() error {
		var info struct{ PVName, DBRType string }
		if err := s.getJSON("/mgmt/bpl/getPVTypeInfo", url.Values{"pv": {pv}}, &info); err != nil {
			return err
		}
		if info.PVName != real || info.DBRType != "DBR_SCALAR_DOUBLE" {
			return fmt.Errorf("%+v", info)
		}
		return nil
	})
}

// awaitAliases waits until these are all aliases, "alias pv".
func (s *server) awaitAliases(want ...string) {
	s.t.Helper()
	s.waitUntil(startTimeout, "aliases", func() error {
		var list []struct{ AliasName, SrcPVName string }
		if err := s.getJSON("/mgmt/bpl/getAllAliases", nil, &list); err != nil {
			return err
		}
		var got []string
		for _, a := range list {
			got = append(got, a.AliasName+" "+a.SrcPVName)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
}
