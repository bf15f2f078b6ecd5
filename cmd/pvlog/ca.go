package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/alecthomas/kong"

	"pvlog/cmd/pvlog/appliance"
	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
)

// caCmd is `pvlog ca`: a test of connectivity from the archiver's host, with
// the client that archives, and the habits of caget and its siblings.
type caCmd struct {
	Get     caGetCmd     `cmd:"" help:"Read PVs, as caget does."`
	Put     caPutCmd     `cmd:"" help:"Write a PV, as caput does."`
	Monitor caMonitorCmd `cmd:"" help:"Print updates of PVs until Ctrl-C, as camonitor does."`
	Info    caInfoCmd    `cmd:"" help:"Tell what PVs are and where, as cainfo does."`
	Search  caSearchCmd  `cmd:"" help:"Search PVs and tell who answers, and with --trace all that was sent where."`
}

// caWait is the time-out that all of them share.
type caWait struct {
	Wait float64 `short:"w" env:"EPICS_CLI_TIMEOUT" default:"1" placeholder:"SECONDS" help:"Time to connect, and again to be answered; 0 has no limit."`
}

// caLink is how the tools connect.
type caLink struct {
	caWait
	Priority uint    `short:"p" default:"0" placeholder:"N" help:"Priority of the circuit, 0 to 99, which is also taken for more."`
	Version  caAbout `short:"V" help:"Print the versions of pvlog and of the protocol."`
}

// caAbout is -V, which needs no PV.
type caAbout bool

// BeforeReset prints before arguments are missed.
func (caAbout) BeforeReset(app *kong.Kong) error {
	fmt.Fprintf(app.Stdout, "\npvlog %s, CA Protocol version 4.%d\n", appliance.Version(), ca.MinorVersion)
	app.Exit(0)
	return nil
}

// forever stands for no limit.
const forever = 10 * 365 * 24 * time.Hour

func (w caWait) limit() (time.Duration, error) {
	switch {
	case w.Wait == 0:
		return forever, nil
	case w.Wait > 0 && w.Wait < forever.Seconds():
		return time.Duration(w.Wait * float64(time.Second)), nil
	}
	return 0, exitError{exitUsage, fmt.Errorf("-w %v: a number of seconds is expected, 0 for no limit", w.Wait)}
}

// withCA runs a client, configured by the EPICS_CA_ variables, as long as use.
func (l caLink) withCA(ctx context.Context, log *slog.Logger, wait time.Duration, use func(*caclient.Client) error) error {
	log = caLogger(ctx, log)
	options := caOptions(log)
	options.Priority = uint8(min(l.Priority, ca.MaxPriority))
	options.GetTimeout, options.Logger = wait, log
	client := caclient.New(options)
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- client.Run(running) }()
	err := use(client)
	stop()
	return errors.Join(err, <-done)
}

func caOptions(log *slog.Logger) caclient.Options {
	options, warnings := caclient.OptionsFromEnv(os.Getenv)
	for _, w := range warnings {
		log.Warn(w)
	}
	no := false
	options.Repeater = &no // a command that ends must not own the host's repeater port
	return options
}

// caLogger leaves what a server logs in daily work out of a tool's output,
// unless --log-level debug asks for it.
func caLogger(ctx context.Context, log *slog.Logger) *slog.Logger {
	if log.Enabled(ctx, slog.LevelDebug) || !log.Enabled(ctx, slog.LevelInfo) {
		return log
	}
	return appliance.NewLogger(os.Stderr, "warn")
}

// caPV is a PV of the command line. It only waits for its connection.
type caPV struct {
	channel   *caclient.Channel
	name      string
	once      sync.Once
	connected chan struct{} // closed at the first connection
}

// Connected is told by the client.
func (p *caPV) Connected(*caclient.Channel, caclient.Info) {
	p.once.Do(func() { close(p.connected) })
}

// Disconnected is told by the client.
func (p *caPV) Disconnected(*caclient.Channel, error) {}

// Update is told by the client.
func (p *caPV) Update(*caclient.Channel, caclient.Update) {}

// connectPVs opens channels and waits until all are connected or the time is up.
func connectPVs(ctx context.Context, client *caclient.Client, names []string, wait time.Duration) []*caPV {
	pvs := make([]*caPV, len(names))
	for i, name := range names {
		pvs[i] = &caPV{name: name, connected: make(chan struct{})}
		pvs[i].channel = client.Open(name, pvs[i])
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for _, p := range pvs {
		select {
		case <-p.connected:
		case <-ctx.Done():
			return pvs
		}
	}
	return pvs
}

// complain words on standard error, as caget does, that PVs did not connect,
// and gives their number.
func complain(pvs []*caPV) (missing int) {
	for _, p := range pvs {
		if _, ok := p.channel.Info(); !ok {
			missing++
		}
	}
	switch {
	case missing == 0:
		return 0
	case len(pvs) == 1:
		fmt.Fprintf(os.Stderr, "Channel connect timed out: '%s' not found.\n", pvs[0].name)
	default:
		fmt.Fprintln(os.Stderr, "Channel connect timed out: some PV(s) not found.")
	}
	fmt.Fprintln(os.Stderr, "`pvlog ca search --trace` tells who was asked.")
	return missing
}

// caFailures is the error of a command that could not serve all PVs.
func caFailures(failed, all int, what string) error {
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d PVs not %s", failed, all, what)
}
