//go:build unix && !linux

package streams

import (
	"errors"
	"os"
)

// syncDir makes everything below dir durable, file by file.
func syncDir(dir string) error { return fsyncTree(dir) }

// cloneFile is not known here.
func cloneFile(_, _ *os.File) error { return errors.ErrUnsupported }
