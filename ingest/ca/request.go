package ca

import (
	"bytes"
	"encoding/binary"
)

// maxIdentity is the largest payload of CLIENT_NAME and HOST_NAME that rsrv
// takes, terminating NUL included.
const maxIdentity = 512

// MaxPriority is the highest priority of a circuit: a server closes one that
// asks for more.
const MaxPriority = 99

// AppendVersion adds the VERSION that begins a circuit of priority 0.
func AppendVersion(b []byte) []byte { return AppendPriorityVersion(b, 0) }

// AppendPriorityVersion adds the VERSION that begins a circuit with a priority
// of 0 to [MaxPriority].
func AppendPriorityVersion(b []byte, priority uint8) []byte {
	return AppendHeader(b, Header{Command: CmdVersion, DataType: uint16(priority), Count: MinorVersion})
}

// AppendDatagramVersion adds the VERSION that begins a UDP datagram, with its
// sequence number.
func AppendDatagramVersion(b []byte, sequence uint32) []byte {
	return AppendHeader(b, Header{Command: CmdVersion, DataType: 1, Count: MinorVersion, P1: sequence})
}

// AppendClientName adds CLIENT_NAME: who asks, for access security. It must
// come before the first CREATE_CHAN of a circuit.
func AppendClientName(b []byte, name string) []byte {
	return appendText(b, Header{Command: CmdClientName}, clip(name, maxIdentity-1))
}

// AppendHostName adds HOST_NAME: from where, for access security. It must come
// before the first CREATE_CHAN of a circuit.
func AppendHostName(b []byte, name string) []byte {
	return appendText(b, Header{Command: CmdHostName}, clip(name, maxIdentity-1))
}

// AppendSearch adds a SEARCH for a name under the client's channel id.
func AppendSearch(b []byte, cid uint32, name string, reply uint16) []byte {
	return appendText(b, Header{Command: CmdSearch, DataType: reply, Count: MinorVersion, P1: cid, P2: cid}, name)
}

// AppendSearchReply adds a server's answer to a SEARCH over UDP: connect to
// the given TCP port at address, or [AddressOfSender].
func AppendSearchReply(b []byte, cid uint32, port uint16, address uint32) []byte {
	payload := [8]byte{0, MinorVersion}
	return AppendMessage(b, Header{Command: CmdSearch, DataType: port, P1: address, P2: cid}, payload[:])
}

// AppendCreateChan adds CREATE_CHAN: claims a name under the client's id.
func AppendCreateChan(b []byte, cid uint32, name string) []byte {
	return appendText(b, Header{Command: CmdCreateChan, P1: cid, P2: MinorVersion}, name)
}

// AppendEventAdd adds a subscription. Count 0 asks for the current length and
// needs a peer of [MinDynamicCount].
func AppendEventAdd(b []byte, sid, subid uint32, t DBR, count uint32, mask uint16) []byte {
	var payload [16]byte
	binary.BigEndian.PutUint16(payload[12:], mask)
	return AppendMessage(b, Header{Command: CmdEventAdd, DataType: uint16(t), Count: count, P1: sid, P2: subid}, payload[:])
}

// AppendEventCancel adds EVENT_CANCEL with type and count of the EVENT_ADD.
// rsrv closes the whole circuit for an id that it does not know.
func AppendEventCancel(b []byte, sid, subid uint32, t DBR, count uint32) []byte {
	return AppendHeader(b, Header{Command: CmdEventCancel, DataType: uint16(t), Count: min(count, extendedMark-1), P1: sid, P2: subid})
}

// AppendReadNotify adds a get. Count 0 as in [AppendEventAdd].
func AppendReadNotify(b []byte, sid, ioid uint32, t DBR, count uint32) []byte {
	return AppendHeader(b, Header{Command: CmdReadNotify, DataType: uint16(t), Count: count, P1: sid, P2: ioid})
}

// AppendClearChannel adds CLEAR_CHANNEL, or a server's acknowledgement of it.
func AppendClearChannel(b []byte, sid, cid uint32) []byte {
	return AppendHeader(b, Header{Command: CmdClearChannel, P1: sid, P2: cid})
}

// AppendEcho adds ECHO; for a peer older than minor 3, READ_SYNC, which is all
// that it mirrors.
func AppendEcho(b []byte, minor uint16) []byte {
	if minor < 3 {
		return AppendHeader(b, Header{Command: CmdReadSync})
	}
	return AppendHeader(b, Header{Command: CmdEcho})
}

// AppendError adds a server's ERROR: the header of the request that failed,
// and a text.
func AppendError(b []byte, cid, status uint32, request Header, text string) []byte {
	payload := AppendHeader(nil, request)
	payload = append(payload, text...)
	payload = append(payload, 0)
	return AppendMessage(b, Header{Command: CmdError, P1: cid, P2: status}, payload)
}

// AppendBeacon adds RSRV_IS_UP, the datagram that a server sends to say that
// it serves a TCP port.
func AppendBeacon(b []byte, port uint16, counter, address uint32) []byte {
	return AppendHeader(b, Header{Command: CmdBeacon, DataType: MinorVersion, Count: uint32(port), P1: counter, P2: address})
}

// AppendRepeaterRegister adds REPEATER_REGISTER: the sender wants to hear the
// beacons that the host's repeater hears.
func AppendRepeaterRegister(b []byte) []byte {
	return AppendHeader(b, Header{Command: CmdRepeaterRegister})
}

// AppendRepeaterConfirm adds REPEATER_CONFIRM, the repeater's answer to a
// client at an address.
func AppendRepeaterConfirm(b []byte, address uint32) []byte {
	return AppendHeader(b, Header{Command: CmdRepeaterConfirm, P2: address})
}

// Text reads a name or message from a payload: up to its first NUL.
func Text(payload []byte) string {
	if i := bytes.IndexByte(payload, 0); i >= 0 {
		payload = payload[:i]
	}
	return string(payload)
}

// appendText adds a message whose payload is a string. The NUL must lie inside
// the payload: rsrv overwrites the last byte with one.
func appendText(b []byte, h Header, s string) []byte {
	h.PayloadSize = uint32(pad8(len(s) + 1))
	b = AppendHeader(b, h)
	b = append(b, s...)
	return append(b, zeros[:int(h.PayloadSize)-len(s)]...)
}

func clip(s string, n int) string { return s[:min(len(s), n)] }
