package caclient

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAddressListsKeepWhatIsGood(t *testing.T) {
	var log bytes.Buffer
	no := false
	env := map[string]string{
		"EPICS_CA_ADDR_LIST":   " 10.0.0.1\t10.0.0.2:6000\n10.0.0.1 167772163 167772164:7000 300.1.1.1 10.0.0.5:0 10.0.0.5:70000 10.0.0.5:x ::1 10.0.0.6:1:2 localhost:6001 ",
		"EPICS_CA_SERVER_PORT": "6064",
	}
	o, warnings := OptionsFromEnv(func(name string) string { return env[name] })
	if len(warnings) != 0 {
		t.Errorf("warned: %v", warnings)
	}
	o.AutoAddrList = &no
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	c := New(o)
	got := c.look(t.Context())
	want := []netip.AddrPort{
		netip.MustParseAddrPort("10.0.0.1:6064"), netip.MustParseAddrPort("10.0.0.2:6000"),
		netip.MustParseAddrPort("10.0.0.3:6064"), netip.MustParseAddrPort("10.0.0.4:7000"),
		netip.MustParseAddrPort("127.0.0.1:6001"),
	}
	if !slices.Equal(got.udp, want) || got.tcp != nil {
		t.Errorf("got %v, want %v", got, want)
	}
	if n := strings.Count(log.String(), "address passed over"); n != 6 {
		t.Errorf("%d addresses were told to be bad:\n%s", n, log.String())
	}
	// Without name service, what was known stays.
	offline, cancel := context.WithCancel(t.Context())
	cancel()
	if again := c.look(offline); !slices.Equal(again.udp, want) {
		t.Errorf("offline: %v", again)
	}
}

func TestEnvironmentOfEPICS(t *testing.T) {
	tests := []struct {
		name     string
		env      map[string]string
		check    func(Options) bool
		warnings int
	}{
		{"empty", nil, func(o Options) bool {
			return *o.AutoAddrList && o.ServerPort == 5064 && o.RepeaterPort == 5065 &&
				o.ConnTimeout == 30*time.Second && o.MaxSearchPeriod == 300*time.Second && len(o.AddrList) == 0
		}, 0},
		{"auto NO", map[string]string{"EPICS_CA_AUTO_ADDR_LIST": "NO"}, func(o Options) bool { return !*o.AutoAddrList }, 0},
		{"auto No", map[string]string{"EPICS_CA_AUTO_ADDR_LIST": " No "}, func(o Options) bool { return !*o.AutoAddrList }, 0},
		{"auto YES", map[string]string{"EPICS_CA_AUTO_ADDR_LIST": "YES"}, func(o Options) bool { return *o.AutoAddrList }, 0},
		{"name servers", map[string]string{"EPICS_CA_NAME_SERVERS": "a b:1"}, func(o Options) bool { return slices.Equal(o.NameServers, []string{"a", "b:1"}) }, 0},
		{"bad ports", map[string]string{"EPICS_CA_SERVER_PORT": "80", "EPICS_CA_REPEATER_PORT": "x"}, func(o Options) bool {
			return o.ServerPort == 5064 && o.RepeaterPort == 5065
		}, 2},
		{"bad times", map[string]string{"EPICS_CA_CONN_TMO": "-1", "EPICS_CA_MAX_SEARCH_PERIOD": "NaN"}, func(o Options) bool {
			return o.ConnTimeout == 30*time.Second && o.MaxSearchPeriod == 300*time.Second
		}, 2},
		{"short times", map[string]string{"EPICS_CA_CONN_TMO": "0.001", "EPICS_CA_MAX_SEARCH_PERIOD": "1"}, func(o Options) bool {
			return o.ConnTimeout == 100*time.Millisecond && o.MaxSearchPeriod == time.Minute
		}, 2},
		{"arrays", map[string]string{"EPICS_CA_MAX_ARRAY_BYTES": "1000000"}, func(o Options) bool { return o.MaxArrayBytes == 0 }, 0},
		{"limited arrays", map[string]string{"EPICS_CA_MAX_ARRAY_BYTES": "1000000", "EPICS_CA_AUTO_ARRAY_BYTES": "no"}, func(o Options) bool { return o.MaxArrayBytes == 1_000_000 }, 0},
		{"automatic arrays", map[string]string{"EPICS_CA_MAX_ARRAY_BYTES": "1000000", "EPICS_CA_AUTO_ARRAY_BYTES": "Yes"}, func(o Options) bool { return o.MaxArrayBytes == 0 }, 0},
		{"bad arrays", map[string]string{"EPICS_CA_MAX_ARRAY_BYTES": "10", "EPICS_CA_AUTO_ARRAY_BYTES": "NO"}, func(o Options) bool { return o.MaxArrayBytes == 16384 }, 1},
		{"multicast", map[string]string{"EPICS_CA_MCAST_TTL": "32"}, func(o Options) bool { return o.MulticastTTL == 32 }, 0},
		{"bad multicast", map[string]string{"EPICS_CA_MCAST_TTL": "0"}, func(o Options) bool { return o.MulticastTTL == 1 }, 1},
		{"times", map[string]string{"EPICS_CA_CONN_TMO": "5.5", "EPICS_CA_MAX_SEARCH_PERIOD": "90"}, func(o Options) bool {
			return o.ConnTimeout == 5500*time.Millisecond && o.MaxSearchPeriod == 90*time.Second
		}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o, warnings := OptionsFromEnv(func(name string) string { return test.env[name] })
			if !test.check(o) || len(warnings) != test.warnings {
				t.Errorf("got %+v, %q", o, warnings)
			}
		})
	}
}

// TestNamesThatFailedAreResolvedLater: the list is looked at again, and so are
// the interfaces.
func TestNamesThatFailedAreResolvedLater(t *testing.T) {
	no := false
	c := New(Options{AutoAddrList: &no, AddrList: []string{"localhost:6001", "10.0.0.1"}})
	offline, cancel := context.WithCancel(t.Context())
	cancel()
	c.publish(c.look(offline))
	first := c.places.udp
	c.publish(c.look(t.Context()))
	want := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:6001"), netip.MustParseAddrPort("10.0.0.1:5064")}
	if !slices.Equal(first, want[1:]) || !slices.Equal(c.places.udp, want) {
		t.Errorf("first %v, then %v", first, c.places.udp)
	}
}

func TestBroadcastIsTheLastAddressOfANetwork(t *testing.T) {
	for cidr, want := range map[string]string{
		"10.1.2.3/24": "10.1.2.255", "10.1.2.3/16": "10.1.255.255", "192.168.1.130/26": "192.168.1.191",
		"10.1.2.3/32": "", "10.1.2.3/31": "", "fe80::1/64": "",
	} {
		ip, network, err := net.ParseCIDR(cidr)
		if err != nil {
			t.Fatal(err)
		}
		network.IP = ip
		got, ok := broadcast(network)
		if (want == "") == ok || ok && got.String() != want {
			t.Errorf("%s: got %v, %v; want %q", cidr, got, ok, want)
		}
	}
	if found, err := broadcastAddrs(); err != nil || len(found) == 0 {
		t.Errorf("this host has %v, %v", found, err)
	}
}

func TestLimiterTellsHowMuchItLeftOut(t *testing.T) {
	var log bytes.Buffer
	l := &limiter{log: slog.New(slog.NewTextHandler(&log, nil)), every: time.Hour}
	for range 1000 {
		l.warn("odd")
	}
	l.warn("other")
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("%d lines", n)
	}
	l.every = 0
	l.warn("odd")
	if !strings.Contains(log.String(), "more=999") {
		t.Errorf("got %s", log.String())
	}
}
