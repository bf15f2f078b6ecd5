package main

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"pvlog/ingest/simioc"
)

// iocCmd is `pvlog ioc`: the records of the demo, and a load on demand, behind
// a real Channel Access server.
type iocCmd struct {
	Listen   string   `default:"127.0.0.1:5064" help:"Address of the server. Port 0 is any free one; a port that is taken is replaced by a free one."`
	Prefix   string   `default:"demo:" help:"What all PV names begin with."`
	Records  int      `default:"0" help:"Add this many doubles, PREFIXload:000001 and so on."`
	Rate     float64  `default:"10" help:"Updates per second of each of them."`
	IOCs     int      `name:"iocs" default:"1" help:"Spread the load over this many IOCs, at this address and the ones that follow it in 127.0.0.0/8; on 0.0.0.0 all share the port, for broadcasts."`
	Beacons  []string `help:"Send beacons to these host:port, mostly a CA repeater (port 5065); by default none are sent."`
	Scenario string   `type:"path" help:"Run the IOCs and the steps of this file (ingest/simioc/SCENARIO.md) in place of the demo; the other flags but --list are not looked at then."`
	List     bool     `help:"Print the PV names, one a line, and exit."`
}

// maxLoad is the most load records: six digits number them.
const maxLoad = 999_999

// Run serves until ctx ends.
func (c *iocCmd) Run(ctx context.Context, log *slog.Logger) error {
	if c.Scenario != "" {
		return c.runScenario(ctx, log)
	}
	switch {
	case c.Records < 0 || c.Records > maxLoad:
		return fmt.Errorf("--records %d: 0 to %d are possible", c.Records, maxLoad)
	case !(c.Rate > 0 && c.Rate <= 1000):
		return fmt.Errorf("--rate %v: more than 0 and at most 1000 Hz are possible", c.Rate)
	}
	if c.IOCs != 1 {
		return c.runFleet(ctx, log)
	}
	ioc := simioc.New(simioc.Options{
		Listen:  c.Listen,
		Prefix:  c.Prefix,
		Beacons: c.Beacons,
		Records: append(simioc.Demo(), simioc.Load(c.Records, c.Rate)...),
		Logger:  log,
	})
	if err := ioc.Err(); err != nil {
		return err
	}
	if c.List {
		return printNames(ioc.Names())
	}
	if err := ioc.Listen(); err != nil {
		return err
	}
	fmt.Printf("EPICS_CA_ADDR_LIST=%s EPICS_CA_AUTO_ADDR_LIST=NO\n", ioc.Addr())
	done := make(chan struct{})
	go func() {
		defer close(done)
		reportLosses(ctx, ioc, log)
	}()
	err := ioc.Run(ctx)
	<-done
	return err
}

func printNames(names []string) error {
	w := bufio.NewWriter(os.Stdout)
	for _, name := range names {
		fmt.Fprintln(w, name)
	}
	return w.Flush()
}

// reportLosses warns when clients lost updates or records missed their turn:
// who measures with this IOC has to know.
func reportLosses(ctx context.Context, ioc interface{ Stats() simioc.Stats }, log *slog.Logger) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	var before simioc.Stats
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := ioc.Stats()
		if now.Overwritten > before.Overwritten || now.Skipped > before.Skipped {
			log.Warn("clients are slower than the records, or the records slower than their rates",
				"overwritten", now.Overwritten-before.Overwritten, "skipped", now.Skipped-before.Skipped)
		}
		before = now
	}
}
