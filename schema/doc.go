// Package schema is the language that all stages of pvlog share: the words of
// archiving (PV name, sample, DBR type, registry event) and their bytes.
//
// It promises that a sample is encoded once, as the EPICSEvent message that
// will stand in its PB file, and that whatever it encodes it decodes to the
// same again. It does no I/O and knows no clock.
//
// Every other package imports it; it imports only its generated messages.
package schema
