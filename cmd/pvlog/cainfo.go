package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"pvlog/ingest/caclient"
)

type caInfoCmd struct {
	caLink
	Status int      `short:"s" placeholder:"LEVEL" help:"With 1 or more also the address, by number, and the protocol version of the server."`
	PVs    []string `arg:"" name:"pv" help:"PV names."`
}

// Run tells what is known of each channel.
func (c *caInfoCmd) Run(ctx context.Context, log *slog.Logger) error {
	wait, err := c.limit()
	if err != nil {
		return err
	}
	return c.withCA(ctx, log, wait, func(client *caclient.Client) error {
		pvs := connectPVs(ctx, client, c.PVs, wait)
		failed := complain(pvs)
		if failed == len(pvs) {
			return caFailures(failed, len(pvs), "connected")
		}
		names := hostNames{}
		for _, p := range pvs {
			info, ok := p.channel.Info()
			if _, err := io.WriteString(os.Stdout, c.text(p.name, names.of(ctx, info.Addr), info, ok)); err != nil {
				return fmt.Errorf("print: %w", err)
			}
		}
		return caFailures(failed, len(pvs), "connected")
	})
}

// text is a channel as cainfo prints it.
func (c *caInfoCmd) text(name, host string, info caclient.Info, connected bool) string {
	if !connected {
		return name + "\n    State:            never connected\n"
	}
	may := func(granted bool) string {
		if granted {
			return ""
		}
		return "no "
	}
	text := fmt.Sprintf("%s\n"+
		"    State:            connected\n"+
		"    Host:             %s\n"+
		"    Access:           %sread, %swrite\n"+
		"    Native data type: %s\n"+
		"    Request type:     %v\n"+
		"    Element count:    %d\n",
		name, host, may(info.Readable), may(info.Writable), dbfName(info.Native), info.Native, info.Count)
	if c.Status > 0 {
		text += fmt.Sprintf("    Address:          %s\n    Protocol:         4.%d\n", info.Addr, info.Minor)
	}
	return text
}

// hostNames are the names of addresses, each asked for once.
type hostNames map[string]string

// of gives "name:port" for "address:port", as libca does, or that itself when
// the address has no name.
func (n hostNames) of(ctx context.Context, addr string) string {
	ip, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	name, known := n[ip]
	if !known {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		name = ip
		if names, err := net.DefaultResolver.LookupAddr(ctx, ip); err == nil && len(names) > 0 {
			name = strings.TrimSuffix(names[0], ".")
		}
		n[ip] = name
	}
	return net.JoinHostPort(name, port)
}
