package ca

import "strconv"

// ECA status codes that travel in replies: (message number << 3) | severity.
// Bit 0 set means success; unknown values of newer servers are legal.
const (
	StatusNormal           uint32 = 1
	StatusAllocMem         uint32 = 48
	StatusTooLarge         uint32 = 72
	StatusTimeout          uint32 = 80
	StatusBadType          uint32 = 114
	StatusInternal         uint32 = 142
	StatusGetFail          uint32 = 152
	StatusPutFail          uint32 = 160
	StatusBadCount         uint32 = 176
	StatusDisconnected     uint32 = 192
	StatusBadMonitorID     uint32 = 242
	StatusDefunct          uint32 = 278
	StatusPutInProgress    uint32 = 362
	StatusNoReadAccess     uint32 = 368
	StatusNoWriteAccess    uint32 = 376
	StatusNoConvert        uint32 = 400
	StatusUnavailable      uint32 = 432
	Status16KArrayClient   uint32 = 464
	StatusUnresponsivePeer uint32 = 480
)

var statusNames = map[uint32]string{
	StatusNormal: "ECA_NORMAL", StatusAllocMem: "ECA_ALLOCMEM", StatusTooLarge: "ECA_TOLARGE",
	StatusTimeout: "ECA_TIMEOUT", StatusBadType: "ECA_BADTYPE", StatusInternal: "ECA_INTERNAL",
	StatusGetFail: "ECA_GETFAIL", StatusPutFail: "ECA_PUTFAIL", StatusBadCount: "ECA_BADCOUNT",
	StatusDisconnected: "ECA_DISCONN", StatusBadMonitorID: "ECA_BADMONID",
	StatusDefunct: "ECA_DEFUNCT", StatusPutInProgress: "ECA_PUTCBINPROG",
	StatusNoReadAccess: "ECA_NORDACCESS", StatusNoWriteAccess: "ECA_NOWTACCESS",
	StatusNoConvert: "ECA_NOCONVERT", StatusUnavailable: "ECA_UNAVAILINSERV",
	Status16KArrayClient: "ECA_16KARRAYCLIENT", StatusUnresponsivePeer: "ECA_UNRESPTMO",
}

// StatusName is an ECA status' name in the protocol, or its number.
func StatusName(status uint32) string {
	if name, ok := statusNames[status]; ok {
		return name
	}
	return "ECA status " + strconv.FormatUint(uint64(status), 10)
}
