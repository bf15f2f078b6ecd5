package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"text/tabwriter"

	"pvlog/streams"
)

// benchCmd measures this machine.
type benchCmd struct {
	Log benchLogCmd `cmd:"" help:"What bare JetStream costs per message: publish, consume, both at once."`
	Ca  benchCaCmd  `cmd:"" help:"What the Channel Access client costs, against simulated IOCs in a process of their own."`

	Archive    benchArchiveCmd    `cmd:"" help:"From the log to durable files: what a sample costs, in CPU, memory, bytes and file operations, and whether all are there."`
	Pipeline   benchPipelineCmd   `cmd:"" help:"From the sockets of simulated IOCs to durable files, with a real pvlog serve."`
	ArchiveRun benchArchiveRunCmd `cmd:"" hidden:"" help:"The process that bench archive measures."`
}

type benchLogCmd struct {
	Messages          int    `default:"500000" help:"Messages of each phase."`
	Payload           int    `default:"80" help:"Bytes of a message."`
	PVs               int    `name:"pvs" default:"1000" help:"Subjects."`
	SamplesPerMessage int    `name:"samples-per-message" default:"1" help:"Samples that such a message would hold, for the last column."`
	Durability        string `default:"flush" enum:"flush,async,always" help:"flush, async or always, as log.durability."`
	Dir               string `type:"path" help:"Where to put the temporary log (default: the system's temporary directory)."`
}

// Run measures and prints a table.
func (c *benchLogCmd) Run(ctx context.Context, log *slog.Logger) error {
	dir, err := os.MkdirTemp(c.Dir, "pvlog-bench-")
	if err != nil {
		return fmt.Errorf("make a temporary log: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	r, err := streams.Bench(ctx, streams.BenchOptions{
		Dir: dir, Durability: c.Durability, Messages: c.Messages, Payload: c.Payload, PVs: c.PVs, Logger: log,
	})
	if err != nil {
		return fmt.Errorf("bench log: %w", err)
	}
	fmt.Printf("%d messages of %d bytes, %d PVs, durability %s\n", c.Messages, c.Payload, c.PVs, c.Durability)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "phase\tmessages/s\tCPU us/message\tCPU us/sample\t")
	for _, row := range []struct {
		name  string
		phase streams.BenchPhase
	}{{"publish", r.Publish}, {"consume", r.Consume}, {"both at once", r.Both}} {
		perSample := row.phase.PerMessage() / float64(max(1, c.SamplesPerMessage))
		fmt.Fprintf(table, "%s\t%.0f\t%.2f\t%.2f\t\n", row.name, row.phase.Rate(), row.phase.PerMessage(), perSample)
	}
	return table.Flush()
}
