package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/pprof"

	"pvlog/cmd/pvlog/appliance"
)

// settings are the flags that change the configuration; each is also an
// environment variable. What is not given is left to the file and the defaults.
type settings struct {
	Config     string  `env:"PVLOG_CONFIG" type:"path" placeholder:"FILE" help:"Configuration file (YAML); 'pvlog config' prints one."`
	Data       *string `env:"PVLOG_DATA" placeholder:"DIR" help:"Data directory (default ./pvlog-data)."`
	HTTP       *string `name:"http" env:"PVLOG_HTTP" placeholder:"ADDR" help:"HTTP address, port 0 for a free one (default 127.0.0.1:17665)."`
	NATS       *string `name:"nats" env:"PVLOG_NATS" placeholder:"ADDR" help:"Address for NATS clients, or off (default 127.0.0.1:4222)."`
	Policies   *string `env:"PVLOG_POLICIES" placeholder:"FILE" help:"Policy file: YAML rules or the Appliance's policies.py (default: built-in rules)."`
	OpenWrites *bool   `env:"PVLOG_OPEN_WRITES" help:"Allow changing requests on a public address without a token."`
}

// load gives the effective configuration: flags before environment before file
// before defaults.
func (s settings) load() (appliance.Config, error) {
	config := appliance.DefaultConfig()
	if s.Config != "" {
		b, err := os.ReadFile(s.Config)
		if err != nil {
			return config, fmt.Errorf("read configuration: %w", err)
		}
		if err := config.Read(b); err != nil {
			return config, fmt.Errorf("configuration %s: %w", s.Config, err)
		}
	}
	set(&config.Data, s.Data)
	set(&config.HTTP, s.HTTP)
	set(&config.NATS, s.NATS)
	set(&config.Policies, s.Policies)
	set(&config.OpenWrites, s.OpenWrites)
	return config, config.Check()
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

type serveCmd struct {
	settings
	CPUProfile string `name:"cpu-profile" placeholder:"FILE" help:"Write a CPU profile of the whole run, for go tool pprof."`
}

// Run archives until a signal ends it.
func (c *serveCmd) Run(ctx context.Context, log *slog.Logger) error {
	config, err := c.load()
	if err != nil {
		return err
	}
	saveMemory()
	stop, err := profile(c.CPUProfile)
	if err != nil {
		return err
	}
	return errors.Join(appliance.New(config, log).Run(ctx), stop())
}

// profile writes a CPU profile until it is stopped; "" writes none.
func profile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("write the profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("profile: %w", err), f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

type configCmd struct{ settings }

// Run prints the effective configuration.
func (c *configCmd) Run() error {
	config, err := c.load()
	if err != nil {
		return err
	}
	text, err := config.YAML()
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(text)
	return err
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run() error {
	_, err := fmt.Println("pvlog", appliance.Version())
	return err
}
