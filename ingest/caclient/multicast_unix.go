//go:build unix

package caclient

import (
	"net"

	"golang.org/x/sys/unix"
)

// setMulticastTTL says how many networks multicasts of a socket pass.
func setMulticastTTL(socket *net.UDPConn, ttl int) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, min(max(ttl, 1), 255))
	})
	if err != nil {
		return err
	}
	return set
}
