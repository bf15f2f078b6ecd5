// Package ca speaks Channel Access without touching a socket or a clock.
//
// It knows the messages ([Header], [AppendMessage], [ParseHeader]), the DBR
// payloads in both directions ([DecodeTime], [DecodeCtrl], [AppendTime],
// [AppendDBR]), how names are searched ([SearchSchedule], [Datagram]), what beacons
// tell ([BeaconTable]) and what a circuit may do at which moment ([Circuit]).
// Time comes as an argument, bytes come and go as slices.
//
// It promises that no input makes it panic or allocate more than the bytes
// that are there justify, that every length is checked before it is believed,
// and that a sample's time stamp, severity, status and value leave it as the
// IOC sent them. What cannot be right is an error that wraps [ErrMalformed].
//
// Both ends of the protocol are driven from it: caclient puts sockets and
// timers around it, simioc serves with the same codec. Who drives a circuit
// owns a connection, a clock and a lock, and has four things to do:
//
//   - send what [Circuit.TakeOutput] gives, after each call that may ask for
//     something (it is empty when nothing is to be sent);
//   - read into [Splitter.Buffer], tell [Circuit.Heard], and give every message
//     of [Splitter.Next] to [Circuit.Handle], whose event says what came of it;
//   - call [Circuit.Tick] at [Circuit.Deadline]: silence, time-outs and probes
//     are there, and [EventLost] asks for the end of the connection;
//   - at the end, tell the owners of [Circuit.Owners] and [Circuit.Gets].
//
// No type here is safe for concurrent use, none has a goroutine, and nothing is
// to be closed. Payloads point into the bytes that were given and live as long
// as these. Numbers in payloads are big-endian; [DBR.ValueOffset] and
// [DBR.ElementSize] say where they stand.
package ca
