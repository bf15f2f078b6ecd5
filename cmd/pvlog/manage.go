package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

type archiveCmd struct {
	client
	pvInput
	settingsFlags
	TimeLimit      time.Duration `name:"time-limit" placeholder:"SPAN" help:"Give up PVs that have not connected by then; default: as the server is configured."`
	SkipAliasCheck bool          `name:"skip-alias-check" help:"Archive under this name whatever the IOC calls the PV."`
	changeFlags
}

// Run asks for the PVs to be archived.
func (c *archiveCmd) Run(ctx context.Context) error {
	query := c.settings()
	if c.TimeLimit > 0 {
		query.Set("time_limit", seconds(c.TimeLimit))
	}
	if c.SkipAliasCheck {
		query.Set("skip_alias_check", "true")
	}
	contentType, body, err := c.body()
	if err != nil {
		return err
	}
	return c.change(ctx, "archived", "/api/v1/pvs", c.changeFlags, query, contentType, body)
}

// settingsFlags are settings of PVs; what is not given stays, or is the
// default. A list of PVs goes before them.
type settingsFlags struct {
	Method        string        `placeholder:"METHOD" help:"MONITOR takes every update, SCAN at most one per period, SCAN_GET reads once per period. Default MONITOR."`
	Period        time.Duration `placeholder:"SPAN" help:"Sampling period; default 1s."`
	Policy        string        `placeholder:"NAME" help:"Policy to apply."`
	Fields        string        `placeholder:"A,B" help:"Fields that are archived with the PV, such as HIHI,LOLO."`
	Deadband      string        `placeholder:"NUMBER" help:"A smaller change makes no sample; 0: every update does."`
	ControllingPV string        `name:"controlling-pv" placeholder:"PV" help:"Archive only while this PV is not 0."`
	DriftPast     time.Duration `name:"drift-past" placeholder:"SPAN" help:"How old a time stamp may be."`
	DriftFuture   time.Duration `name:"drift-future" placeholder:"SPAN" help:"How far in the future a time stamp may lie."`
	RateEvents    string        `name:"rate-events" placeholder:"N" help:"Events per second that may be archived; the rest goes to the drop log. 0: as configured for all."`
	RateBytes     string        `name:"rate-bytes" placeholder:"N" help:"Bytes per second, likewise."`
}

// settings are the flags as parameters of a request.
func (f settingsFlags) settings() url.Values {
	query := url.Values{}
	for name, text := range map[string]string{"method": f.Method, "policy": f.Policy, "fields": f.Fields,
		"deadband": f.Deadband, "controlling_pv": f.ControllingPV,
		"rate_events": f.RateEvents, "rate_bytes": f.RateBytes} {
		if text != "" {
			query.Set(name, text)
		}
	}
	for name, span := range map[string]time.Duration{"period": f.Period, "drift_past": f.DriftPast, "drift_future": f.DriftFuture} {
		if span != 0 {
			query.Set(name, seconds(span))
		}
	}
	return query
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }

type configureCmd struct {
	client
	pvInput
	settingsFlags
	changeFlags
}

// Run changes settings of PVs.
func (c *configureCmd) Run(ctx context.Context) error {
	query := c.settings()
	if len(query) == 0 && c.File == "" {
		return exitError{exitUsage, errors.New("say what to change: --method, --period, --policy, --fields, --deadband, --controlling-pv, --drift-past, --drift-future, --rate-events, --rate-bytes, or a --file with columns")}
	}
	contentType, body, err := c.body()
	if err != nil {
		return err
	}
	return c.change(ctx, "configured", "/api/v1/pvs:configure", c.changeFlags, query, contentType, body)
}

// changeCmd is a command on PVs that are archived.
type changeCmd struct {
	client
	pvInput
	changeFlags
}

func (c *changeCmd) run(ctx context.Context, command, verb string) error {
	contentType, body, err := c.body()
	if err != nil {
		return err
	}
	return c.change(ctx, verb, "/api/v1/pvs:"+command, c.changeFlags, url.Values{}, contentType, body)
}

type pauseCmd struct{ changeCmd }

// Run stops sampling until the PVs are resumed.
func (c *pauseCmd) Run(ctx context.Context) error { return c.run(ctx, "pause", "paused") }

type resumeCmd struct{ changeCmd }

// Run lets sampling go on.
func (c *resumeCmd) Run(ctx context.Context) error { return c.run(ctx, "resume", "resumed") }

type stopCmd struct{ changeCmd }

// Run ends sampling; registration and data stay.
func (c *stopCmd) Run(ctx context.Context) error { return c.run(ctx, "stop", "stopped") }

type deleteCmd struct {
	client
	pvInput
	Data bool `name:"data" help:"Move the PVs' files to the store's .trash folder as well."`
	Yes  bool `short:"y" help:"Do not ask before more than 100 PVs are deleted by a glob."`
	changeFlags
}

// Run forgets PVs that are paused or stopped.
func (c *deleteCmd) Run(ctx context.Context) error {
	contentType, body, err := c.body()
	if err != nil {
		return err
	}
	if err := c.confirm(ctx, contentType, body); err != nil {
		return err
	}
	return c.change(ctx, "deleted", "/api/v1/pvs:delete", c.changeFlags, c.query(), contentType, body)
}

func (c *deleteCmd) query() url.Values { return url.Values{"data": {strconv.FormatBool(c.Data)}} }

// maxUnasked is how many PVs a glob may delete on a terminal before somebody is
// asked.
const maxUnasked = 100

// confirm asks the person at the terminal before a glob deletes many PVs; a
// script has nobody to ask.
func (c *deleteCmd) confirm(ctx context.Context, contentType string, body []byte) error {
	globs := bytes.ContainsAny(body, "*?")
	if c.Yes || c.DryRun || !globs || !terminal(os.Stdin) || !terminal(os.Stderr) {
		return nil
	}
	query := c.query()
	query.Set("dry_run", "true")
	stream, err := c.send(ctx, http.MethodPost, "/api/v1/pvs:delete", query, http.Header{"Content-Type": {contentType}}, body)
	if err != nil {
		return err
	}
	var would changeSummary
	err = json.NewDecoder(stream).Decode(&would)
	if err = errors.Join(err, stream.Close()); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	return agree(os.Stdin, os.Stderr, would, c.Data)
}

// agree asks whether what would be done is meant.
func agree(in io.Reader, out io.Writer, would changeSummary, data bool) error {
	if would.Changed <= maxUnasked {
		return nil
	}
	what := ""
	if data {
		what = " with their data"
	}
	fmt.Fprintf(out, "This deletes %s PVs%s. Go on? [y/N] ", grouped(would.Changed), what)
	answer, _ := bufio.NewReader(in).ReadString('\n') // no answer is a no
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was deleted")
}
