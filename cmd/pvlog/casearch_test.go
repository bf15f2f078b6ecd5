package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
)

func TestSearchTellsWhoAnsweredAndWhoIsSilent(t *testing.T) {
	var trace strings.Builder
	start := time.Unix(1_700_000_000, 0)
	s := newNameSearch([]string{"A", "B", "C"}, start, 5064)
	s.trace, s.used, s.sent, s.asked = &trace, 2, []int{1, 1, 4}, []time.Time{start, start, start}
	from := netip.MustParseAddrPort("192.0.2.1:5064")
	other := netip.MustParseAddrPort("192.0.2.2:5064")
	old := ca.AppendMessage(nil, ca.Header{Command: ca.CmdSearch, DataType: 9999, P1: 7, P2: 1}, []byte{0, 4, 0, 0, 0, 0, 0, 0})
	for i, a := range []arrival{
		{from: from, data: ca.AppendSearchReply(ca.AppendDatagramVersion(nil, 1), 0, 5070, ca.AddressOfSender)},
		{from: other, data: ca.AppendSearchReply(nil, 0, 5064, 0xC0000209)},
		{from: other, data: ca.AppendSearchReply(nil, 0, 5064, 0xC0000209)},
		{from: from, data: old},
		{from: from, data: ca.AppendSearchReply(nil, 1, 5080, ca.AddressOfSender)},
		{from: from, data: ca.AppendSearchReply(nil, 77, 5064, 0)},
		{from: from, data: []byte("not Channel Access")},
		{from: from, note: "name server: connected"},
		{err: errors.New("odd")},
		{from: other, err: fmt.Errorf("dial: %w", &os.SyscallError{Syscall: "connect", Err: syscall.ECONNREFUSED})},
		{from: other, err: syscall.ECONNREFUSED},
	} {
		a.at = start.Add(time.Duration(i+1) * time.Millisecond)
		s.take(a)
	}
	silent, text := s.summary(start.Add(time.Second))
	if silent != 1 {
		t.Errorf("%d silent PVs", silent)
	}
	contains(t, text,
		"A                              192.0.2.1:5070, protocol 4.13, 1.0 ms after the question; also 192.0.2.9:5064, protocol 4.13, 2.0 ms after the question: 2 servers have it, the first is taken\n",
		"B                              192.0.2.1:5064, protocol 4.4, 4.0 ms after the question; also 192.0.2.1:5080, ",
		"C                              silent for 1.000 s: asked 4 times; places: 2, not reached: 1\n")
	contains(t, trace.String(),
		"0.001 s  192.0.2.1:5064 has A: server 192.0.2.1:5070, protocol 4.13, 1.0 ms after the question\n",
		"192.0.2.2:5064 has A, too, but the first is taken: server 192.0.2.9:5064", "192.0.2.2:5064 has A again: ",
		"answers what was not asked", "are no message", "192.0.2.1:5064: name server: connected\n", "receive: odd\n",
		"192.0.2.2:5064 cannot be reached: connection refused\n")
	if strings.Count(trace.String(), "cannot be reached") != 1 {
		t.Errorf("a place is told to be dead more than once:\n%s", trace.String())
	}
	if strings.Count(text, "192.0.2.9") != 1 {
		t.Errorf("a repeated answer is told again:\n%s", text)
	}
}

func TestPlacesTellTheirOriginAndWhatCannotBeSearched(t *testing.T) {
	no := false
	places := searchPlaces(t.Context(), caclient.Options{
		AutoAddrList: &no, AddrList: []string{"192.0.2.1", "192.0.2.2:5070", "192.0.2.3:x", "3221225989"}, NameServers: []string{"192.0.2.4"}, ServerPort: 5064,
	})
	var lines []string
	for _, p := range places {
		lines = append(lines, p.String())
	}
	contains(t, strings.Join(lines, "\n"),
		"udp 192.0.2.1:5064        EPICS_CA_ADDR_LIST, 192.0.2.1", "udp 192.0.2.2:5070 ", `not searched: EPICS_CA_ADDR_LIST, 192.0.2.3:x: "x" is not a port`,
		"udp 192.0.2.5:5064        EPICS_CA_ADDR_LIST, 3221225989",
		"tcp 192.0.2.4:5064        EPICS_CA_NAME_SERVERS, 192.0.2.4")
	if auto := searchPlaces(t.Context(), caclient.Options{ServerPort: 5064}); len(auto) == 0 || !strings.Contains(auto[0].origin, "interface") {
		t.Errorf("interfaces: %v", auto)
	}
}

func TestLastAddressIsThatOfBroadcasts(t *testing.T) {
	for text, want := range map[string]string{"192.0.2.5/24": "192.0.2.255", "10.1.2.3/22": "10.1.3.255", "192.0.2.5/31": "", "192.0.2.5/32": ""} {
		ip, n, err := net.ParseCIDR(text)
		if err != nil {
			t.Fatal(err)
		}
		n.IP = ip
		got, ok := lastAddress(n)
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
