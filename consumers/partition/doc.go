// Package partition is one PB file: the samples of one PV in one hour, day,
// year or other [Granularity], byte for byte as the EPICS Archiver Appliance
// writes it. FORMAT.md tells the format, what a crash can leave in a file, and
// how recovery tells the cases apart.
//
// It promises that no bytes of a file make it panic or give a line that was not
// ended by its LF, that a reader never needs more memory than the longest line,
// and that [Append] touches nothing before the length it was told. It does not
// promise order of effects: what is written is durable only after
// [Syncer.Sync], and one process at a time may change a PV's files (D16).
//
// The archive writes through it, retrieval and the command line read.
package partition
