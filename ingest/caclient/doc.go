// Package caclient finds IOCs, holds circuits to them and delivers monitors:
// the sockets and timers around package ca.
//
// It promises that a channel is searched until it is found, connected again
// after whatever happens to its IOC, and monitored without a gap that the
// server did not make: it never asks a server to pause and never drops an
// update. A handler that blocks slows its own circuit and no other, and the
// time it takes is never held against the server. Whatever one server sends
// costs no other server's channels anything.
//
// It is kind to the network: names are asked first where they were found in an
// earlier run, without a search; beacons, which it repeats for the host if
// nobody else does, bring back the names of a server that restarted; and a
// monitor that is silent against its habit is verified by one read. The
// README of package ingest has the schedule, the limits and the differences
// from libca.
//
// There are two goroutines for each circuit, none for a channel. Handlers are
// called on their circuit's read goroutine, in the order of the stream, with
// no lock held: they may call any method of the client.
//
// It is driven by [Client.Run], which the caller starts in a goroutine and ends
// by its context; it returns when all goroutines have ended. [Client.Open] may
// be called before or after, from anywhere. A [Channel] lives until
// [Channel.Close]: reconnections are its own, so who monitors calls
// [Channel.Subscribe] once, and who reads waits for Connected first. A [Handler]
// must not call [Channel.Get] or [Channel.PutValues], which wait for the
// goroutine that runs it; [Channel.GetAsync] is for handlers. A payload is gone
// when the handler returns.
//
// Package ca reads the payloads: [ca.DecodeTime] what a monitor brings,
// [ca.DecodeCtrl] units, limits and labels. In the archiver package ingest
// opens the channels; `pvlog ca` is the client of a command line.
package caclient
