package main

import (
	"fmt"
	"io"
	"os"

	"pvlog/streams"
)

// payloadMax bounds what decode reads: more than the server takes.
const payloadMax = 64 << 20

type decodeCmd struct {
	Subject string `arg:"" help:"Subject of the message, as samples.LINAC.BPM1.X."`
}

// Run reads one payload from standard input and prints it as JSON.
func (c *decodeCmd) Run() error {
	payload, err := io.ReadAll(io.LimitReader(os.Stdin, payloadMax))
	if err != nil {
		return fmt.Errorf("read the payload: %w", err)
	}
	text, err := streams.DecodeJSON(c.Subject, payload)
	if err != nil {
		return fmt.Errorf("decode a message of %s: %w", c.Subject, err)
	}
	_, err = fmt.Printf("%s\n", text)
	return err
}
