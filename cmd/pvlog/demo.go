package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"pvlog/cmd/pvlog/appliance"
	"pvlog/ingest/simioc"
)

// demoCmd runs a simulated IOC and an archiver in one process and shows what
// flows.
type demoCmd struct {
	Data   string        `placeholder:"DIR" help:"Keep the data here (default: a temporary directory, removed at the end)."`
	HTTP   string        `name:"http" default:"127.0.0.1:17665" help:"HTTP address; another port is taken if it is in use."`
	NATS   string        `name:"nats" default:"127.0.0.1:4222" help:"NATS address; another port is taken if it is in use."`
	Listen string        `default:"127.0.0.1:5064" help:"Address of the IOC; another port is taken if it is in use."`
	For    time.Duration `name:"for" placeholder:"DURATION" help:"End after this time (default: at Ctrl-C)."`
}

// Run shows the pipeline until Ctrl-C.
func (c *demoCmd) Run(ctx context.Context, log *slog.Logger) error {
	if c.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.For)
		defer cancel()
	}
	screen := newScreen(os.Stdout)
	data, remove, err := c.dataDir()
	if err != nil {
		return err
	}
	defer remove()
	ioc := simioc.New(simioc.Options{Listen: freeAddress(c.Listen, "udp", screen.note), Prefix: "demo:", Records: simioc.Demo(), Logger: quiet(log)})
	if err := ioc.Listen(); err != nil {
		return fmt.Errorf("start the IOC: %w", err)
	}
	config := appliance.DefaultConfig()
	config.Data = data
	config.HTTP = freeAddress(c.HTTP, "tcp", screen.note)
	config.NATS = freeAddress(c.NATS, "tcp", screen.note)
	no := false
	config.CA.AddrList, config.CA.AutoAddrList = []string{ioc.Addr()}, &no
	return c.show(ctx, appliance.New(config, quiet(log)), ioc, screen)
}

// quiet leaves only what a person at a demo should not miss.
func quiet(log *slog.Logger) *slog.Logger {
	return slog.New(leveled{log.Handler(), slog.LevelError})
}

// leveled passes on what is at least as grave as level.
type leveled struct {
	slog.Handler
	level slog.Level
}

// Enabled drops what is below the level.
func (l leveled) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= l.level && l.Handler.Enabled(ctx, level)
}

// WithAttrs keeps the level.
func (l leveled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return leveled{l.Handler.WithAttrs(attrs), l.level}
}

// WithGroup keeps the level.
func (l leveled) WithGroup(name string) slog.Handler {
	return leveled{l.Handler.WithGroup(name), l.level}
}

func (c *demoCmd) dataDir() (string, func(), error) {
	if c.Data != "" {
		return c.Data, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "pvlog-demo-")
	if err != nil {
		return "", nil, fmt.Errorf("make a data directory: %w", err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}

// show runs both ends, archives the IOC's PVs over HTTP as a user would, and
// redraws each second.
func (c *demoCmd) show(ctx context.Context, a *appliance.Appliance, ioc *simioc.IOC, screen *screen) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return ioc.Run(ctx) })
	group.Go(func() error { return a.Run(ctx) })
	group.Go(func() error {
		select {
		case <-a.Ready():
		case <-ctx.Done():
			return nil
		}
		if err := c.archive(ctx, a.Addresses().HTTP, ioc.Names()); err != nil && ctx.Err() == nil {
			return err
		}
		for tick := time.NewTicker(time.Second); ; {
			screen.draw(ctx, a, ioc.Addr())
			select {
			case <-tick.C:
			case <-ctx.Done():
				tick.Stop()
				return nil
			}
		}
	})
	err := group.Wait()
	if c.Data != "" {
		screen.note("the data is kept in %s: look with `pvlog inspect %s`", c.Data, c.Data)
	}
	screen.note("stopped")
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// archive asks for the PVs; on kept data most are archived already.
func (c *demoCmd) archive(ctx context.Context, address string, names []string) error {
	_, err := client{Server: address}.post(ctx, "/mgmt/bpl/archivePV", nil, names)
	return err
}

// terminal reports whether f shows to a person.
func terminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
