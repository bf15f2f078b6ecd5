// Package simioc is an IOC, small and obedient: a Channel Access server over
// UDP and TCP whose records are sine waves, alarms, arrays and whatever a test
// puts there. It is the other end of `pvlog ioc`, of the demo and of the tests,
// and a load generator.
//
// It promises what a real IOC promises its clients: every request gets the
// answer that EPICS base's server gives (conversions between all DBR types,
// counts, error codes, closed circuits), updates of a subscription are in
// order, a slow client loses the middle of its updates and never the newest,
// and never holds up the processing of records. Time stamps of one record
// strictly increase unless a caller of [IOC.Put] or a [Clock] says otherwise.
//
// A [Scenario] is several IOCs and what happens to them, read from a file that
// SCENARIO.md describes: wrong clocks, type changes, silences, slow or wedged
// circuits, restarts. The same is there for tests one by one ([IOC.SetClock],
// [IOC.Replace], [IOC.Wedge] and so on).
//
// It is driven by [IOC.Run], which owns the sockets, two goroutines for each
// circuit, one goroutine that processes all periodic records and one that sends
// beacons.
package simioc
