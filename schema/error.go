package schema

import (
	"errors"
	"fmt"
)

// Code says what kind of failure an [Error] is; web maps it to an HTTP status.
type Code string

// The codes of errors that a person or a client caused or can act on.
const (
	Invalid     Code = "invalid"     // the request makes no sense as it stands
	NotFound    Code = "not found"   // the PV, file or thing does not exist
	Conflict    Code = "conflict"    // it clashes with the present state
	Forbidden   Code = "forbidden"   // the caller may not do this
	Unavailable Code = "unavailable" // not now: starting, stopping or a fault
	Internal    Code = "internal"    // anything else
)

// Error is a failure whose text may be shown to whoever asked.
type Error struct {
	Code    Code
	Message string
	Err     error // cause, may be nil
}

// Errorf makes an Error; a %w in format is kept as its cause.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
}

// Error is the message.
func (e *Error) Error() string { return e.Message }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf finds the code of err, [Internal] for foreign errors and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}
