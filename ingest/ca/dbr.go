package ca

import "strconv"

// DBR is the type of a payload on the wire: for 0 to 34 a native type plus
// seven times a class, then a few of their own.
type DBR uint16

// The seven native types, which are what CREATE_CHAN answers with.
const (
	DBRString DBR = 0
	DBRShort  DBR = 1
	DBRFloat  DBR = 2
	DBREnum   DBR = 3
	DBRChar   DBR = 4
	DBRLong   DBR = 5
	DBRDouble DBR = 6
)

// Types with a time stamp, status and severity, and with all properties.
const (
	DBRTimeString DBR = 14
	DBRTimeShort  DBR = 15
	DBRTimeFloat  DBR = 16
	DBRTimeEnum   DBR = 17
	DBRTimeChar   DBR = 18
	DBRTimeLong   DBR = 19
	DBRTimeDouble DBR = 20

	DBRCtrlString DBR = 28
	DBRCtrlShort  DBR = 29
	DBRCtrlFloat  DBR = 30
	DBRCtrlEnum   DBR = 31
	DBRCtrlChar   DBR = 32
	DBRCtrlLong   DBR = 33
	DBRCtrlDouble DBR = 34
)

// Types beyond the classes.
const (
	DBRPutAckT      DBR = 35 // write only
	DBRPutAckS      DBR = 36 // write only
	DBRStsAckString DBR = 37
	DBRClassName    DBR = 38 // record type, one string of 40 bytes

	lastClassed = DBRCtrlDouble
	lastDBR     = DBRClassName
)

// Class is what surrounds the value of a DBR type.
type Class uint8

// The classes of DBR types 0 to 34, and that of the others.
const (
	Plain Class = iota // value alone
	STS                // status, severity
	TIME               // status, severity, time stamp
	GR                 // status, severity, units, display and alarm limits
	CTRL               // as GR, with control limits
	Other              // 35 to 38
)

// MaxStringSize is the bytes of one DBR_STRING element.
const MaxStringSize = 40

// Enum properties have room for 16 labels of 26 bytes.
const (
	MaxEnumStates    = 16
	EnumStringSize   = 26
	enumStringsStart = 6
)

const unitsSize = 8

// Valid reports whether d is one of the types 0 to 38.
func (d DBR) Valid() bool { return d <= lastDBR }

// Native is the native type of d's values.
func (d DBR) Native() DBR {
	switch {
	case d <= lastClassed:
		return d % 7
	case d == DBRPutAckT || d == DBRPutAckS:
		return DBRShort
	}
	return DBRString
}

// Class is the class of d.
func (d DBR) Class() Class {
	if d > lastClassed {
		return Other
	}
	return Class(d / 7)
}

// Time is the TIME type of d's native type.
func (d DBR) Time() DBR { return d.Native() + DBRTimeString }

// Ctrl is the CTRL type of d's native type.
func (d DBR) Ctrl() DBR { return d.Native() + DBRCtrlString }

var elementSizes = [7]int{MaxStringSize, 2, 4, 2, 1, 4, 8}

// ElementSize is the bytes of one element.
func (d DBR) ElementSize() int { return elementSizes[d.Native()] }

// valueOffsets stand in the order of the type numbers.
var valueOffsets = [lastDBR + 1]int{
	0, 0, 0, 0, 0, 0, 0,
	4, 4, 4, 4, 5, 4, 8,
	12, 14, 12, 14, 15, 12, 16,
	4, 24, 40, enumStringsStart + MaxEnumStates*EnumStringSize, 19, 36, 64,
	4, 28, 48, enumStringsStart + MaxEnumStates*EnumStringSize, 21, 44, 80,
	0, 0, 8, 0,
}

// ValueOffset is the offset of the first value in a payload, and so the data
// bytes of a payload without elements. Types that are not [DBR.Valid] give 0.
func (d DBR) ValueOffset() int {
	if !d.Valid() {
		return 0
	}
	return valueOffsets[d]
}

// Size is the data bytes of a payload with count elements, padding to a
// multiple of 8 not included.
func (d DBR) Size(count uint32) int64 {
	return int64(d.ValueOffset()) + int64(count)*int64(d.ElementSize())
}

var (
	nativeNames = [7]string{"STRING", "SHORT", "FLOAT", "ENUM", "CHAR", "LONG", "DOUBLE"}
	classNames  = [5]string{"", "STS_", "TIME_", "GR_", "CTRL_"}
)

// String is the type's name in the protocol: "DBR_TIME_DOUBLE".
func (d DBR) String() string {
	switch {
	case d <= lastClassed:
		return "DBR_" + classNames[d.Class()] + nativeNames[d.Native()]
	case d == DBRStsAckString:
		return "DBR_STSACK_STRING"
	case d == DBRClassName:
		return "DBR_CLASS_NAME"
	}
	return "DBR type " + strconv.Itoa(int(d))
}
