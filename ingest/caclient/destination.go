package caclient

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"
)

// resolveEvery is how often host names and interfaces are looked at again:
// addresses change, and a name that failed at the start may be known later.
const resolveEvery = time.Minute

// destinations is where names are searched.
type destinations struct {
	udp []netip.AddrPort
	tcp []netip.AddrPort
}

func (d destinations) empty() bool { return len(d.udp) == 0 && len(d.tcp) == 0 }

// resolveTimeout bounds one host name.
const resolveTimeout = 5 * time.Second

// resolve keeps the search destinations up to date. The first look takes only
// what needs no name service, or a slow one would hold up every search.
func (c *Client) resolve(ctx context.Context) error {
	ticker := time.NewTicker(resolveEvery)
	defer ticker.Stop()
	offline, cancel := context.WithCancel(ctx)
	cancel()
	c.publish(c.look(offline))
	for {
		c.publish(c.look(ctx))
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// publish makes destinations those of the search.
func (c *Client) publish(places destinations) {
	c.mu.Lock()
	changed := !slices.Equal(places.udp, c.places.udp) || !slices.Equal(places.tcp, c.places.tcp)
	c.places = places
	c.mu.Unlock()
	if changed {
		c.log.Info("searching PVs", "udp", places.udp, "tcp", places.tcp)
		c.dialNameServers(time.Now())
		c.wakeSearch()
	}
}

// look resolves the lists of the options. What cannot be resolved is told and
// passed over.
func (c *Client) look(ctx context.Context) destinations {
	var d destinations
	if auto := c.options.AutoAddrList; auto == nil || *auto {
		broadcasts, err := broadcastAddrs()
		if err != nil {
			c.log.Warn("network interfaces not listed", "err", err)
		}
		for _, ip := range broadcasts {
			d.udp = append(d.udp, netip.AddrPortFrom(ip, uint16(c.options.ServerPort)))
		}
	}
	d.udp = append(d.udp, c.lookup(ctx, c.options.AddrList)...)
	d.tcp = c.lookup(ctx, c.options.NameServers)
	d.udp, d.tcp = unique(d.udp), unique(d.tcp)
	return d
}

func unique(list []netip.AddrPort) []netip.AddrPort {
	var kept []netip.AddrPort
	for _, addr := range list {
		if !slices.Contains(kept, addr) {
			kept = append(kept, addr)
		}
	}
	return kept
}

func (c *Client) lookup(ctx context.Context, elements []string) []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, element := range elements {
		addr, err := resolveElement(ctx, element, c.options.ServerPort)
		if err == nil {
			c.known[element] = addr
		} else if ctx.Err() == nil {
			c.log.Warn("address passed over", "addr", element, "err", err)
		}
		// A name service that fails for a while does not unlearn an address.
		if addr, ok := c.known[element]; ok {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// resolveElement reads one element of an address list: IPv4, decimal IPv4 or
// host name, each with an optional port.
func resolveElement(ctx context.Context, element string, defaultPort int) (netip.AddrPort, error) {
	host, port := element, defaultPort
	if h, p, found := strings.Cut(element, ":"); found {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return netip.AddrPort{}, fmt.Errorf("%q is not a port", p)
		}
		host, port = h, int(n)
	}
	ip, err := resolveHost(ctx, host)
	return netip.AddrPortFrom(ip, uint16(port)), err
}

func resolveHost(ctx context.Context, host string) (netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		if !ip.Is4() {
			return ip, fmt.Errorf("Channel Access knows IPv4 only")
		}
		return ip, nil
	}
	if n, err := strconv.ParseUint(host, 10, 32); err == nil {
		return ipv4(uint32(n)), nil
	}
	if err := ctx.Err(); err != nil { // the resolver may answer from its hosts file all the same
		return netip.Addr{}, fmt.Errorf("resolve host: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("resolve host: %w", err)
	}
	if len(ips) == 0 {
		return netip.Addr{}, fmt.Errorf("resolve host: it has no IPv4 address")
	}
	return ips[0].Unmap(), nil
}

// CheckServers refuses a list for Options.AllowServers that cannot be read.
func CheckServers(list []string) error {
	_, err := prefixes(list)
	return err
}

// prefixes reads addresses and networks. One that cannot be read is an error:
// a list that allows others than was meant is worse than none.
func prefixes(list []string) ([]netip.Prefix, error) {
	var read []netip.Prefix
	for _, element := range list {
		prefix, err := netip.ParsePrefix(element)
		if err != nil {
			ip, ipErr := netip.ParseAddr(element)
			if ipErr != nil {
				return nil, fmt.Errorf("%q is neither an IPv4 address nor a network as 10.1.0.0/16", element)
			}
			prefix = netip.PrefixFrom(ip, ip.BitLen())
		}
		if !prefix.Addr().Is4() {
			return nil, fmt.Errorf("%q: Channel Access knows IPv4 only", element)
		}
		read = append(read, prefix)
	}
	return read, nil
}

// allowed says whether a server at an address may be connected to. mu is held.
func (c *Client) allowed(ip netip.Addr) bool {
	if len(c.allow) == 0 {
		return true
	}
	return slices.ContainsFunc(c.allow, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// broadcastAddrs gives the broadcast address of every IPv4 interface that is
// up and not loopback, or loopback if there is none.
func broadcastAddrs() ([]netip.Addr, error) {
	var found []netip.Addr
	interfaces, err := net.Interfaces()
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, addrsErr := i.Addrs()
		if addrsErr != nil {
			err = addrsErr
			continue
		}
		for _, addr := range addrs {
			if ipnet, ok := addr.(*net.IPNet); ok {
				if ip, ok := broadcast(ipnet); ok {
					found = append(found, ip)
				}
			}
		}
	}
	if len(found) == 0 {
		found = append(found, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	return found, err
}

// broadcast is the last address of an IPv4 network; networks of one or two
// addresses have none.
func broadcast(n *net.IPNet) (netip.Addr, bool) {
	ip := n.IP.To4()
	ones, bits := n.Mask.Size()
	if ip == nil || bits != 32 || ones >= 31 {
		return netip.Addr{}, false
	}
	var out [4]byte
	for i := range out {
		out[i] = ip[i] | ^n.Mask[i]
	}
	return netip.AddrFrom4(out), true
}

// identify fills in who asks, for access security.
func (c *Client) identify() {
	if c.options.User == "" {
		c.options.User = "pvlog"
		if u, err := user.Current(); err == nil {
			c.options.User = u.Username
		}
	}
	if c.options.Host == "" {
		c.options.Host, _ = os.Hostname()
	}
}
