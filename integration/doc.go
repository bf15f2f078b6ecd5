// Package integration proves the whole pipeline from outside: it builds the
// pvlog binary, runs it as an operator would, and looks only at what an
// operator has (HTTP, NATS, files, the log of the process). It also holds the
// tests of the house itself: who may import whom, and what must be documented.
//
// It promises that what it calls stored was compared with an independent
// record: a client of EPICS base that watched the same IOC. The tests named
// TestEpics need the real EPICS of `make epics` and run by `make test-epics`.
//
// There is nothing here to import.
package integration
