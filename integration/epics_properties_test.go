package integration

import (
	"fmt"
	"net/url"
	"testing"
)

// TestEpicsRow21PropertiesFollowTheIOC: a real IOC posts DBE_PROPERTY for a put
// to EGU, to a limit and to a label, and what pvlog answers follows.
func TestEpicsRow21PropertiesFollowTheIOC(t *testing.T) {
	r := &rig{t: t, python: needEPICS(t), port: freePort(t)}
	r.startIOC()
	r.pvlog = newServer(t, r.clientEnvironment())
	r.pvlog.start()
	number, state := epicsPrefix+"calc", epicsPrefix+"mbbi"
	r.pvlog.archive(number, state)
	r.pvlog.awaitMeta(number, "EGU", "ticks")
	for _, put := range [][]string{{number + ".EGU", "steps"}, {number + ".HOPR", "77"}, {number + ".PREC", "4"}, {state + ".ZRST", "Nought"}} {
		if _, stderr, code := caTool(t, r.clientEnvironment(), "put", "-w", "20", put[0], put[1]); code != 0 {
			t.Fatalf("put %v: exit code %d: %s", put, code, stderr)
		}
	}
	r.pvlog.awaitMeta(number, "EGU", "steps")
	r.pvlog.awaitMeta(number, "PREC", "4")
	r.pvlog.awaitTypeInfo(number, "limit of 77", func(i typeInfo) bool { return i.UpperDisplayLimit == "77.0" })
	r.pvlog.awaitTypeInfo(state, "new label", func(i typeInfo) bool {
		return i.ExtraFields["ENUM_0"] == "Nought" && i.ExtraFields["ENUM_1"] == "running"
	})
}

// typeInfo is what the test asks of getPVTypeInfo.
type typeInfo struct {
	UpperDisplayLimit string
	ExtraFields       map[string]string
}

func (s *server) awaitTypeInfo(pv, what string, holds func(typeInfo) bool) {
	s.t.Helper()
	s.waitUntil(startTimeout, what+" of "+pv, func() error {
		var info typeInfo
		if err := s.getJSON("/mgmt/bpl/getPVTypeInfo", url.Values{"pv": {pv}}, &info); err != nil {
			return err
		}
		if !holds(info) {
			return fmt.Errorf("%+v", info)
		}
		return nil
	})
}
