//go:build !unix

package simioc

// sharePort does nothing: the port is not shared with other servers here.
func sharePort(uintptr) error { return nil }
