package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"pvlog/ingest/simioc"
)

// runScenario serves the IOCs of a file in place of the demo.
func (c *iocCmd) runScenario(ctx context.Context, log *slog.Logger) error {
	text, err := os.ReadFile(c.Scenario)
	if err != nil {
		return err
	}
	s, err := simioc.ReadScenario(text)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Scenario, err)
	}
	if c.List {
		return printNames(s.Names())
	}
	s.Logger = log
	if err := s.Listen(); err != nil {
		return fmt.Errorf("%s: %w", c.Scenario, err)
	}
	fmt.Printf("EPICS_CA_ADDR_LIST=%q EPICS_CA_AUTO_ADDR_LIST=NO\n", strings.Join(s.Addrs(), " "))
	return s.Run(ctx)
}
