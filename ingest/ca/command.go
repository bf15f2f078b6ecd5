package ca

import "strconv"

// MinorVersion is the minor protocol version that both ends of this package
// announce: 13 is base 3.16 and later, with "count 0 = current length".
const MinorVersion = 13

// MinDynamicCount is the first minor version that understands count 0 in
// EVENT_ADD and READ_NOTIFY; older peers need the native count.
const MinDynamicCount = 13

// Well-known ports.
const (
	ServerPort   = 5064 // of servers, UDP and TCP
	RepeaterPort = 5065 // of beacons
)

// Commands of [Header].Command.
const (
	CmdVersion          uint16 = 0
	CmdEventAdd         uint16 = 1
	CmdEventCancel      uint16 = 2
	CmdRead             uint16 = 3
	CmdWrite            uint16 = 4
	CmdSearch           uint16 = 6
	CmdEventsOff        uint16 = 8
	CmdEventsOn         uint16 = 9
	CmdReadSync         uint16 = 10
	CmdError            uint16 = 11
	CmdClearChannel     uint16 = 12
	CmdBeacon           uint16 = 13 // RSRV_IS_UP
	CmdNotFound         uint16 = 14
	CmdReadNotify       uint16 = 15
	CmdRepeaterConfirm  uint16 = 17
	CmdCreateChan       uint16 = 18
	CmdWriteNotify      uint16 = 19
	CmdClientName       uint16 = 20
	CmdHostName         uint16 = 21
	CmdAccessRights     uint16 = 22
	CmdEcho             uint16 = 23
	CmdRepeaterRegister uint16 = 24
	CmdCreateChanFail   uint16 = 26
	CmdServerDisconnect uint16 = 27
)

// Reply flags of SEARCH, in the data type field.
const (
	DontReply uint16 = 5
	DoReply   uint16 = 10
)

// Event mask bits of a subscription.
const (
	MaskValue    uint16 = 1 // value moved by more than MDEL
	MaskLog      uint16 = 2 // value moved by more than ADEL, for archives
	MaskAlarm    uint16 = 4 // severity or status changed
	MaskProperty uint16 = 8 // units, limits or labels changed
)

// Bits of ACCESS_RIGHTS.
const (
	AccessRead  uint32 = 1
	AccessWrite uint32 = 2
)

// AddressOfSender in a SEARCH reply says "connect to where this came from".
const AddressOfSender uint32 = 0xFFFFFFFF

var commandNames = map[uint16]string{
	CmdVersion: "VERSION", CmdEventAdd: "EVENT_ADD", CmdEventCancel: "EVENT_CANCEL",
	CmdRead: "READ", CmdWrite: "WRITE", CmdSearch: "SEARCH", CmdEventsOff: "EVENTS_OFF",
	CmdEventsOn: "EVENTS_ON", CmdReadSync: "READ_SYNC", CmdError: "ERROR",
	CmdClearChannel: "CLEAR_CHANNEL", CmdBeacon: "RSRV_IS_UP", CmdNotFound: "NOT_FOUND",
	CmdReadNotify: "READ_NOTIFY", CmdRepeaterConfirm: "REPEATER_CONFIRM",
	CmdCreateChan: "CREATE_CHAN", CmdWriteNotify: "WRITE_NOTIFY", CmdClientName: "CLIENT_NAME",
	CmdHostName: "HOST_NAME", CmdAccessRights: "ACCESS_RIGHTS", CmdEcho: "ECHO",
	CmdRepeaterRegister: "REPEATER_REGISTER", CmdCreateChanFail: "CREATE_CH_FAIL",
	CmdServerDisconnect: "SERVER_DISCONN",
}

// CommandName is a command's name in the protocol, or its number.
func CommandName(command uint16) string {
	if name, ok := commandNames[command]; ok {
		return name
	}
	return "command " + strconv.Itoa(int(command))
}
