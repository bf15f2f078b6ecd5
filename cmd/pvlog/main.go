// Command pvlog archives EPICS process variables. See README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"pvlog/cmd/pvlog/appliance"
)

// commands is the command line; each subcommand lives in the file of its name.
type commands struct {
	Serve   serveCmd   `cmd:"" help:"Archive: embedded log, Channel Access, PB files, HTTP."`
	Config  configCmd  `cmd:"" help:"Print the effective configuration as YAML with comments."`
	Demo    demoCmd    `cmd:"" help:"Run a simulated IOC and an archiver, and watch samples flow."`
	Ioc     iocCmd     `cmd:"" help:"Run a simulated IOC."`
	Inspect inspectCmd `cmd:"" help:"Show what PB files hold and whether they are sound."`
	Drops   dropsCmd   `cmd:"" help:"List samples that no partition could hold, with the reason."`
	Decode  decodeCmd  `cmd:"" help:"Turn a message of the log from standard input into JSON (for nats --translate)."`
	Bench   benchCmd   `cmd:"" help:"Measure this machine."`
	Version versionCmd `cmd:"" help:"Print the version."`

	LogLevel string `name:"log-level" env:"PVLOG_LOG_LEVEL" default:"info" enum:"debug,info,warn,error" help:"debug, info, warn or error."`
}

func main() { os.Exit(run(os.Args[1:])) }

// run gives the exit code: 0 done, 1 failed, 80 and above a wrong command line.
func run(args []string) int {
	var cli commands
	parser := kong.Must(&cli,
		kong.Name("pvlog"),
		kong.Description("An archiver for EPICS process variables."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	parsed, err := parser.Parse(args)
	parser.FatalIfErrorf(err)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once: what is durable stays so.
	context.AfterFunc(ctx, stop)

	log := appliance.NewLogger(os.Stderr, cli.LogLevel)
	parsed.BindTo(ctx, (*context.Context)(nil))
	parsed.Bind(log)
	if err := parsed.Run(); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintf(os.Stderr, "pvlog: %v\n", err)
		return 1
	}
	return 0
}
