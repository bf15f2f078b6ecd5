package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"pvlog/cmd/pvlog/appliance"
)

// pipelineRig is a process of simulated IOCs and one of `pvlog serve`.
type pipelineRig struct {
	dir  string
	load load
	iocs int
	hour time.Time // that the stamps cross

	// set by start
	child  *benchChild
	server *exec.Cmd
	http   client
}

// start runs both and waits until the server answers.
func (g *pipelineRig) start(ctx context.Context, skew time.Duration, log *slog.Logger) (err error) {
	g.child, err = startChild(ctx, "serve", "--iocs", strconv.Itoa(g.iocs), "--records", strconv.Itoa(g.load.PVs),
		"--rate", fmt.Sprint(g.load.Rate), "--elements", strconv.Itoa(g.load.Elements), "--skew="+skew.String())
	if err != nil {
		return err
	}
	config, err := g.config()
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	args := []string{"serve", "--config", config, "--data", g.dir, "--http", "127.0.0.1:0", "--nats", "off", "--log-level", "error"}
	if profile := os.Getenv("PVLOG_BENCH_PROFILE"); profile != "" {
		args = append(args, "--cpu-profile", profile)
	}
	g.server = exec.CommandContext(ctx, program, args...)
	g.server.Stderr = os.Stderr
	g.server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for this process
	g.server.Cancel = func() error { return g.server.Process.Signal(syscall.SIGTERM) }
	if err := g.server.Start(); err != nil {
		g.server = nil
		return fmt.Errorf("start pvlog serve: %w", err)
	}
	return wait(ctx, time.Minute, "pvlog serve did not start", func() (bool, error) {
		text, err := os.ReadFile(filepath.Join(g.dir, "addresses.json"))
		if errors.Is(err, os.ErrNotExist) {
			return false, nil
		}
		var at appliance.Addresses
		if err := errors.Join(err, json.Unmarshal(text, &at)); err != nil {
			return false, err
		}
		g.http.Server = at.HTTP
		return true, nil
	})
}

// config writes the server's configuration: nothing of the environment's
// Channel Access counts.
func (g *pipelineRig) config() (path string, err error) {
	config := appliance.DefaultConfig()
	no := false
	port, err := freeUDPPort()
	if err != nil {
		return "", err
	}
	config.CA.AddrList, config.CA.AutoAddrList, config.CA.Repeater, config.CA.RepeaterPort = g.child.addrList, &no, &no, port
	config.Drift.Past = 2 * time.Hour // stamps begin before the hour
	if config.Log.Linger = g.load.Linger; g.load.Linger == 0 {
		config.Log.Linger = appliance.DefaultConfig().Log.Linger
	}
	text, err := config.YAML()
	if err != nil {
		return "", err
	}
	path = filepath.Join(g.dir, "bench.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return "", fmt.Errorf("write the configuration: %w", err)
	}
	return path, nil
}

// connectPatience is how long all PVs may take to connect.
const connectPatience = 5 * time.Minute

// archived asks for all PVs to be archived and waits until samples of as many
// channels are durable.
func (g *pipelineRig) archived(ctx context.Context) error {
	body, err := json.Marshal(loadNames("", g.load.PVs))
	if err != nil {
		return err
	}
	headers := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/x-ndjson"}}
	stream, err := g.http.send(ctx, http.MethodPost, "/api/v1/pvs", url.Values{}, headers, body)
	if err != nil {
		return err
	}
	report := &bulkReport{out: io.Discard, err: os.Stderr, verb: "archived"}
	if err := errors.Join(report.read(stream), stream.Close()); err != nil {
		return err
	}
	return wait(ctx, connectPatience, "not all PVs are archived", func() (bool, error) {
		m, err := g.metrics(ctx)
		files := m["pvlog_archive_file_appends_total"]
		return err == nil && m["pvlog_caclient_connects_total"] >= float64(g.load.PVs) && files >= float64(g.load.PVs), err
	})
}

func (g *pipelineRig) metrics(ctx context.Context) (metricValues, error) {
	text, err := g.http.get(ctx, "/metrics", nil)
	return parseMetrics(text), err
}

// drained waits until all that the log took is durable, and gives how many
// samples that are.
func (g *pipelineRig) drained(ctx context.Context) (taken int64, err error) {
	before := int64(-1)
	err = wait(ctx, drainPatience, "not all samples are durable", func() (bool, error) {
		m, err := g.metrics(ctx)
		if err != nil {
			return false, err
		}
		// Updates may still be on their way from the sockets.
		before, taken = taken, int64(m["pvlog_streams_samples_total"])
		return taken == before && settledSamples(m) >= taken, nil
	})
	return taken, err
}

// close ends the server in order, then the IOCs.
func (g *pipelineRig) close() error {
	var errs []error
	if g.server != nil {
		if err := g.server.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, err)
		}
		if err := g.server.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("pvlog serve: %w", err))
		}
	}
	if g.child != nil {
		errs = append(errs, g.child.close())
	}
	return errors.Join(errs...)
}

// wait looks until something is so. The ticks are the resolution.
func wait(ctx context.Context, limit time.Duration, what string, done func() (bool, error)) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); ; {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s within %v: %w", what, limit, errBenchTime)
		}
	}
}
