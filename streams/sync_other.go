//go:build unix && !linux

package streams

// syncDir makes everything below dir durable, file by file.
func syncDir(dir string) error { return fsyncTree(dir) }
