// Package ingest turns the monitors of registered PVs into appended samples.
//
// An [Engine] follows the registry's events and keeps one [Channel] for every
// PV in state archiving. A Channel applies the PV's sampling method, stamps
// what the filters need (receive time, first since connect, registered type,
// drift windows, generation: design D1), adds connection markers (D12) and
// hands the sample to the log. It filters nothing: what the IOC said goes into
// the log, and what could not go there is counted and told.
//
// A PV whose controlling PV is 0 has no channel (Appliance: conditional
// archiving); the registry is told nothing of that. Of a PV with a deadband,
// what differs too little from its last sample is counted and goes nowhere.
//
// It promises that samples of one PV are appended in the order in which they
// were received, that a channel that was paused, stopped or deleted appends
// nothing any more once the event has been applied, and that [Engine.Run]
// returns only when no sample can be appended any more, so that the log can be
// flushed after it. No PV has a goroutine of its own.
//
// The appliance drives it: it gives the engine the registry's state, the
// registry's stream, the sample log and a Channel Access client that it runs.
package ingest
