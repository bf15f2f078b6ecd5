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
	Serve     serveCmd     `cmd:"" help:"Archive: embedded log, Channel Access, PB files, HTTP."`
	Config    configCmd    `cmd:"" help:"Print the effective configuration as YAML with comments."`
	Archive   archiveCmd   `cmd:"" help:"Ask a running server to archive PVs."`
	Pause     pauseCmd     `cmd:"" help:"Pause sampling of PVs."`
	Resume    resumeCmd    `cmd:"" help:"Resume sampling of PVs."`
	Stop      stopCmd      `cmd:"" help:"End sampling of PVs; registration and data stay."`
	Delete    deleteCmd    `cmd:"" help:"Forget paused or stopped PVs."`
	Configure configureCmd `cmd:"" help:"Change settings of PVs."`
	Retype    retypeCmd    `cmd:"" help:"Give a paused PV another type and convert its stored samples."`
	Alias     aliasCmd     `cmd:"" help:"List, add and remove names that stand for PVs."`
	History   historyCmd   `cmd:"" help:"Show what happened to a PV, who did it and why."`
	Policy    policyCmd    `cmd:"" help:"How the policy file has PVs archived: list, check, preview, apply."`
	Registry  registryCmd  `cmd:"" help:"The registry as a whole: as it was, undo, verify."`
	List      listCmd      `cmd:"" help:"List the names of registered PVs."`
	Status    statusCmd    `cmd:"" help:"Show how PVs fare."`
	Why       whyCmd       `cmd:"" help:"Tell why samples of a PV reach their file, or at which link they do not."`
	Get       getCmd       `cmd:"" help:"Print samples of a PV."`
	Drops     dropsCmd     `cmd:"" help:"List samples that no partition could hold, with the reason."`
	Replay    replayCmd    `cmd:"" help:"Put rejected samples, or samples of the raw log, in their places in partitions."`
	Rebuild   rebuildCmd   `cmd:"" help:"Compare partitions with what the raw log gives; --write merges in what is missing."`
	Inspect   inspectCmd   `cmd:"" help:"Show what PB files hold and whether they are sound."`
	Verify    verifyCmd    `cmd:"" help:"Find everything that is wrong with PB files, ours and the Appliance's."`
	Repair    repairCmd    `cmd:"" help:"Take out of PB files what is wrong with them; no sample that can be read is lost."`
	Import    importCmd    `cmd:"" help:"Let a running server adopt the PB files of another archive."`
	Decode    decodeCmd    `cmd:"" help:"Turn a message of the log from standard input into JSON (for nats --translate)."`
	Demo      demoCmd      `cmd:"" help:"Run a simulated IOC and an archiver, and watch samples flow."`
	Ioc       iocCmd       `cmd:"" help:"Run a simulated IOC."`
	Ca        caCmd        `cmd:"" help:"Read, write, monitor and search PVs over Channel Access, without a server."`
	Bench     benchCmd     `cmd:"" help:"Measure this machine."`
	Version   versionCmd   `cmd:"" help:"Print the version."`

	LogLevel string `name:"log-level" env:"PVLOG_LOG_LEVEL" default:"info" enum:"debug,info,warn,error" help:"debug, info, warn or error."`
}

func main() { os.Exit(run(os.Args[1:])) }

// run gives the exit code: see exitFailed and its siblings.
func run(args []string) int {
	var cli commands
	parser := kong.Must(&cli,
		kong.Name("pvlog"),
		kong.Description("An archiver for EPICS process variables."),
		kong.WithHyphenPrefixedParameters(true), // --from -1h
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	parsed, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "pvlog: %v (pvlog --help lists commands and flags)\n", err)
		return exitUsage
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once: what is durable stays so.
	context.AfterFunc(ctx, stop)

	log := appliance.NewLogger(os.Stderr, cli.LogLevel)
	parsed.BindTo(ctx, (*context.Context)(nil))
	parsed.Bind(log)
	if err := parsed.Run(); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintf(os.Stderr, "pvlog: %v\n", err)
		return exitCode(err)
	}
	return 0
}
