package streams

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// syncDir makes everything below dir durable: one syncfs of its file system.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open log directory: %w", err)
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("syncfs %s: %w", dir, err)
	}
	return nil
}
