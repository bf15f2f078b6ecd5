package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"pvlog/ingest/caclient"
)

type caInfoCmd struct {
	caWait
	PVs []string `arg:"" name:"pv" help:"PV names."`
}

// Run tells what is known of each channel.
func (c *caInfoCmd) Run(ctx context.Context, log *slog.Logger) error {
	wait, err := c.limit()
	if err != nil {
		return err
	}
	return withCA(ctx, log, wait, func(client *caclient.Client) error {
		pvs := connectPVs(ctx, client, c.PVs, wait)
		failed := 0
		for _, p := range pvs {
			info, ok := p.channel.Info()
			if !ok {
				failed++
			}
			if _, err := io.WriteString(os.Stdout, infoText(p.name, info, ok)); err != nil {
				return fmt.Errorf("print: %w", err)
			}
		}
		return caFailures(failed, len(pvs), "connected")
	})
}

// infoText is a channel as cainfo prints it.
func infoText(name string, info caclient.Info, connected bool) string {
	if !connected {
		return name + "\n    State:            never connected\n"
	}
	may := func(granted bool) string {
		if granted {
			return ""
		}
		return "no "
	}
	return fmt.Sprintf("%s\n"+
		"    State:            connected\n"+
		"    Host:             %s\n"+
		"    Access:           %sread, %swrite\n"+
		"    Native data type: %s\n"+
		"    Request type:     %v\n"+
		"    Element count:    %d\n"+
		"    Protocol:         4.%d\n",
		name, info.Addr, may(info.Readable), may(info.Writable), dbfName(info.Native), info.Native, info.Count, info.Minor)
}
