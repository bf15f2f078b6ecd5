package schema

import "pvlog/schema/epicspb"

// DBRType is the type of a PV's samples, numbered as the Appliance's
// PayloadType (0 SCALAR_STRING to 14 V4_GENERIC_BYTES).
type DBRType int32

// The types a sample can have.
const (
	ScalarString   DBRType = 0
	ScalarShort    DBRType = 1
	ScalarFloat    DBRType = 2
	ScalarEnum     DBRType = 3
	ScalarByte     DBRType = 4
	ScalarInt      DBRType = 5
	ScalarDouble   DBRType = 6
	WaveformString DBRType = 7
	WaveformShort  DBRType = 8
	WaveformFloat  DBRType = 9
	WaveformEnum   DBRType = 10
	WaveformByte   DBRType = 11
	WaveformInt    DBRType = 12
	WaveformDouble DBRType = 13
	V4GenericBytes DBRType = 14

	// UnknownType is the type of a PV that never connected.
	UnknownType DBRType = -1
)

// Valid reports whether t is one of the 15 types.
func (t DBRType) Valid() bool { return t >= ScalarString && t <= V4GenericBytes }

// Waveform reports whether samples of the type are arrays.
func (t DBRType) Waveform() bool { return t >= WaveformString && t <= WaveformDouble }

// Payload is the name in PB headers: "SCALAR_DOUBLE".
func (t DBRType) Payload() string {
	if !t.Valid() {
		return "UNKNOWN"
	}
	return epicspb.PayloadType(t).String()
}

// String is the name in the Appliance's JSON: "DBR_SCALAR_DOUBLE".
func (t DBRType) String() string { return "DBR_" + t.Payload() }
