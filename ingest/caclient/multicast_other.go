//go:build !unix

package caclient

import "net"

// setMulticastTTL does nothing: multicasts stay in the own network here.
func setMulticastTTL(*net.UDPConn, int) error { return nil }
