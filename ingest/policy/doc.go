// Package policy says which PVs get which sampling, archive fields and
// stores: from a file of rules (YAML) or from a site's policies.py, which runs
// as Starlark.
//
// It promises that a decision depends on nothing but the file's text and what
// is known of the PV: the same twice is the same decision twice. A decision
// that a connection could still contradict is not given: it is asked for again
// later. A policies.py can reach no file, no network and no clock, and ends
// within a bound of steps, time and memory.
//
// [Parse] and [Policies.Determine] are pure; [Source] is the shell around them
// that reads a file and follows its changes. It is driven by whoever registers
// PVs and by the engine when one connects.
package policy
