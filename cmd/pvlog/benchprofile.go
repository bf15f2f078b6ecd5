package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
)

// profiled is the flag of measurements whose process can be looked into.
type profiled struct {
	Profile string `type:"path" placeholder:"FILE" help:"Write a CPU profile of the client to FILE, and what it holds at the end of the first phase to FILE.heap, for go tool pprof; the servers of connect write FILE.servers."`
}

// begin starts the CPU profile; end writes it.
func (p profiled) begin() (end func() error, err error) {
	if p.Profile == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(p.Profile)
	if err != nil {
		return nil, fmt.Errorf("write a profile: %w", err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}

// heap writes what is held now, if a profile was asked for.
func (p profiled) heap() error {
	if p.Profile == "" {
		return nil
	}
	file, err := os.Create(p.Profile + ".heap")
	if err != nil {
		return fmt.Errorf("write a profile: %w", err)
	}
	return errors.Join(pprof.Lookup("heap").WriteTo(file, 0), file.Close())
}
