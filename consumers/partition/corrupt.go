package partition

import (
	"errors"
	"fmt"
)

// CorruptError says where a file is not a partition, and why.
type CorruptError struct {
	Path   string
	Offset int64 // byte at which the header or the line begins
	Err    error
}

// Error names file, offset and cause.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("partition %s: byte %d: %v", e.Path, e.Offset, e.Err)
}

// Unwrap gives the cause.
func (e *CorruptError) Unwrap() error { return e.Err }

// Causes of a CorruptError.
var (
	// ErrHeader says that the first line is not a PayloadInfo message.
	ErrHeader = errors.New("not a PB header")
	// ErrLine says that a line is not a sample of the header's type.
	ErrLine = errors.New("not a PB line")
	// ErrOrder says that a sample is not later than the one before it.
	ErrOrder = errors.New("not later than the line before")
)
