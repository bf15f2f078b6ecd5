package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"pvlog/ingest/caclient"
)

// place is a destination of searches.
type place struct {
	addr   netip.AddrPort
	origin string
	tcp    bool
	err    error // it cannot be used

	broadcast bool // to all hosts of a network
}

func (p place) String() string {
	switch {
	case p.err != nil:
		return fmt.Sprintf("not searched: %s: %v", p.origin, p.err)
	case p.tcp:
		return fmt.Sprintf("tcp %-21v %s", p.addr, p.origin)
	}
	return fmt.Sprintf("udp %-21v %s", p.addr, p.origin)
}

// searchPlaces are the destinations of the options, with where each comes from.
func searchPlaces(ctx context.Context, o caclient.Options) []place {
	var places []place
	if o.AutoAddrList == nil || *o.AutoAddrList {
		places = append(places, interfacePlaces(o.ServerPort)...)
	}
	for _, element := range o.AddrList {
		places = append(places, listedPlace(ctx, element, "EPICS_CA_ADDR_LIST", o.ServerPort))
	}
	for _, element := range o.NameServers {
		p := listedPlace(ctx, element, "EPICS_CA_NAME_SERVERS", o.ServerPort)
		p.tcp = true
		places = append(places, p)
	}
	return places
}

// resolveLimit bounds the look-up of one host name.
const resolveLimit = 5 * time.Second

func listedPlace(ctx context.Context, element, variable string, port int) place {
	p := place{origin: fmt.Sprintf("%s, %s", variable, element)}
	host := element
	if h, text, found := strings.Cut(element, ":"); found {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			p.err = fmt.Errorf("%q is not a port", text)
			return p
		}
		host, port = h, int(n)
	}
	if n, err := strconv.ParseUint(host, 10, 32); err == nil { // an address as one number
		ip := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(n))))
		p.addr = netip.AddrPortFrom(ip, uint16(port))
		return p
	}
	ctx, cancel := context.WithTimeout(ctx, resolveLimit)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	if err != nil || len(ips) == 0 {
		p.err = fmt.Errorf("no IPv4 address of %q: %w", host, err)
		return p
	}
	p.addr = netip.AddrPortFrom(ips[0].Unmap(), uint16(port))
	return p
}

// interfacePlaces are the broadcast addresses of EPICS_CA_AUTO_ADDR_LIST.
func interfacePlaces(port int) (places []place) {
	const auto = "EPICS_CA_AUTO_ADDR_LIST"
	interfaces, err := net.Interfaces()
	if err != nil {
		places = append(places, place{origin: auto, err: err})
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			places = append(places, place{origin: auto + ", interface " + i.Name, err: err})
		}
		for _, addr := range addrs {
			if n, ok := addr.(*net.IPNet); ok && n.IP.To4() != nil {
				if ip, ok := lastAddress(n); ok {
					places = append(places, place{addr: netip.AddrPortFrom(ip, uint16(port)), origin: auto + ", interface " + i.Name, broadcast: true})
				}
			}
		}
	}
	if len(places) == 0 {
		loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		places = append(places, place{addr: netip.AddrPortFrom(loopback, uint16(port)), origin: auto + ", no interface broadcasts"})
	}
	return places
}

// lastAddress is the broadcast address of a network of more than two.
func lastAddress(n *net.IPNet) (netip.Addr, bool) {
	ip, mask := n.IP.To4(), n.Mask
	if ones, bits := mask.Size(); bits != 32 || ones >= 31 {
		return netip.Addr{}, false
	}
	for i := range ip {
		ip[i] |= ^mask[i]
	}
	return netip.AddrFromSlice(ip)
}
