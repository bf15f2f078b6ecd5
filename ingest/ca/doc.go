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
// timers around it, simioc serves with the same codec.
package ca
