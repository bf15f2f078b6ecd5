// Package streams is pvlog's log: an embedded NATS JetStream server with the
// streams SAMPLES, REGISTRY and DROPS, and the ways in and out of them.
//
// It promises that samples of a PV are stored and handed out in the order in
// which they were appended, through retries, redelivery and restarts of the
// server; that nothing is thrown away before the archive has acknowledged it;
// that registry events and drops are durable when their append returns; and
// that every queue is bounded and says when it is full. It decodes envelopes,
// never values.
//
// The appliance opens a [Log] and runs it. Ingest appends to [SampleLog], the
// archive drains [Consumer] and appends to [DropLog], the registry and ingest
// append to and follow [EventLog]. It is the only package that imports nats.
// See README.md for subjects, retention and what NATS clients may do.
package streams
