package schema

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrLoss says that a value cannot be converted without losing something: it
// is out of range, has a fraction, is no number, has more than one element.
var ErrLoss = errors.New("cannot be converted without loss")

// Conversion makes events of one type out of those of another. Values become
// equal ones or are refused:
//
//   - A number becomes the same number: integers within the range of the type,
//     a float that is exactly the double, NaN and infinities in floats alone.
//   - A number becomes the shortest text that gives it back, and a text the
//     number that it states.
//   - An enum state becomes its label where there is one, and a label the state
//     (of all labels it must be the only one of its text), else they are numbers.
//   - A scalar becomes an array of one element, and such an array a scalar.
//   - A string becomes an array of its bytes, and an array of bytes the string
//     before its first NUL: what EPICS calls a long string.
//
// [V4GenericBytes] are opaque and become nothing else. Time, alarm, field
// values and whatever else an event carries stay as they are.
type Conversion struct {
	From, To DBRType
	Labels   []string // of an enum's states, in their order; nil if they are not known

	// Lossy takes what is nearest in place of a refusal: fractions are rounded,
	// numbers out of range become the last in it, of an array the first element
	// is kept. What has nothing near (NaN in an integer, "abc" as a number, an
	// empty array as a scalar) becomes NaN, 0 or "" and gets the alarm INVALID
	// with status UDF, as a record without a value has.
	Lossy bool
}

// Alarm of a value that is none.
const (
	severityInvalid = 3
	statusUDF       = 17
)

// Check gives an [Invalid] error if no value of From ever becomes one of To.
func (c Conversion) Check() error {
	switch {
	case !c.From.Valid() || !c.To.Valid():
		return Errorf(Invalid, "there is no conversion of %v to %v", c.From, c.To)
	case c.From == c.To:
		return Errorf(Invalid, "the type is %v already", c.To)
	case c.From == V4GenericBytes || c.To == V4GenericBytes:
		return Errorf(Invalid, "%v cannot become %v: the bytes of V4 structures are passed through and not understood", c.From, c.To)
	}
	return nil
}

// Append adds the event, converted, to b. lost tells that the value is not what
// it was, which happens with Lossy alone; without it the error wraps [ErrLoss]
// and shows the value. An event that is none of From gives [ErrEvent].
func (c Conversion) Append(b, event []byte) (out []byte, lost bool, err error) {
	if _, err := ScanEvent(event); err != nil {
		return b, false, err
	}
	sample, err := DecodeSample(c.From, 1970, event)
	if err != nil {
		return b, false, err
	}
	v := conversion{Conversion: c}
	value := v.append(nil, sample.Value)
	if v.loss != "" && !c.Lossy {
		return b, false, fmt.Errorf("%s %w to %v", v.loss, ErrLoss, c.To)
	}
	return c.frame(b, event, value, v.undefined), v.loss != "", nil
}

// frame puts a value in the place of the event's own.
func (c Conversion) frame(b, event, value []byte, undefined bool) []byte {
	head, rest := make([]byte, 0, 16), make([]byte, 0, 64)
	for len(event) > 0 {
		num, _, n := protowire.ConsumeField(event)
		record := event[:n] // its framing was checked before
		switch {
		case num < fieldVal:
			head = append(head, record...)
		case num == fieldVal, undefined && (num == fieldSeverity || num == fieldStatus):
		default:
			rest = append(rest, record...)
		}
		event = event[n:]
	}
	b = slices.Concat(b, head, value)
	if undefined {
		b = AppendAlarm(b, severityInvalid, statusUDF)
	}
	return append(b, rest...)
}
