package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// registryCmd is what concerns the registry as a whole.
type registryCmd struct {
	At      registryAtCmd      `cmd:"" help:"List the PVs as they were at a time."`
	Undo    registryUndoCmd    `cmd:"" help:"Take back an event of a PV, or all that a command did."`
	Export  registryExportCmd  `cmd:"" help:"Write the configuration of PVs as JSON that pvlog and the Appliance read."`
	Import  registryImportCmd  `cmd:"" help:"Register the PVs of such a file."`
	Changes registryChangesCmd `cmd:"" help:"List commands on more than 1000 PVs, newest first, or show one."`
	Verify  registryVerifyCmd  `cmd:"" help:"Replay the log and compare it with the registry, byte for byte."`
}

type registryAtCmd struct {
	client
	Time   string `arg:"" help:"now, -30m, -7d, or ISO 8601 such as 2026-11-23T08:00:00Z."`
	Glob   string `arg:"" optional:"" default:"*" help:"Glob that the names match."`
	Format string `default:"table" enum:"table,json" help:"table or json (a PV a line)."`
}

// registeredPV is a PV of the registry.
type registeredPV struct {
	PV       string  `json:"pv"`
	State    string  `json:"state"`
	AliasOf  string  `json:"alias_of"`
	Type     string  `json:"type"`
	Elements int     `json:"element_count"`
	Method   string  `json:"method"`
	Period   float64 `json:"period"`
	Policy   string  `json:"policy"`
}

// Run lists the PVs as they were.
func (c *registryAtCmd) Run(ctx context.Context) error {
	query := url.Values{"glob": {c.Glob}, "limit": {"10000"}}
	if c.Time != "now" {
		at, err := parseWhen(c.Time, time.Now())
		if err != nil {
			return exitError{exitUsage, err}
		}
		query.Set("at", at.UTC().Format(time.RFC3339Nano))
	}
	raw, err := c.pages(ctx, "/api/v1/registry", query, "pvs")
	if err != nil {
		return err
	}
	if c.Format == "json" {
		return printLines(os.Stdout, raw)
	}
	pvs, err := decodeAll[registeredPV](raw)
	if err != nil {
		return err
	}
	return printRegistered(os.Stdout, pvs)
}

func printRegistered(w io.Writer, pvs []registeredPV) error {
	rows := make([][]string, len(pvs))
	for i, p := range pvs {
		typ, sampling := "never connected", fmt.Sprintf("%s %s", p.Method, spanText(p.Period))
		switch {
		case p.State == "alias":
			typ, sampling = "-> "+p.AliasOf, ""
		case p.Type != "":
			typ = strings.ToLower(strings.TrimPrefix(p.Type, "DBR_"))
		}
		if p.Elements > 1 {
			typ += "[" + strconv.Itoa(p.Elements) + "]"
		}
		rows[i] = []string{p.PV, p.State, typ, sampling, p.Policy}
	}
	return printTable(w, "PV\tSTATE\tTYPE\tSAMPLING\tPOLICY", rows)
}

// spanText is a number of seconds for people.
func spanText(s float64) string { return strconv.FormatFloat(s, 'g', -1, 64) + "s" }

type registryUndoCmd struct {
	client
	What   string `arg:"" name:"seq|change" help:"Sequence of an event (pvlog history PV), or id of a change."`
	Reason string `placeholder:"TEXT" help:"Why, for the history."`
	DryRun bool   `name:"dry-run" help:"Change nothing, and say what would become of each PV."`
	Format string `default:"text" enum:"text,json" help:"text, or json: a line for each PV as it comes into force."`
}

// Run takes something back.
func (c *registryUndoCmd) Run(ctx context.Context) error {
	what := map[string]any{"change_id": c.What}
	if seq, err := strconv.ParseUint(c.What, 10, 64); err == nil {
		what = map[string]any{"seq": seq}
	}
	body, err := json.Marshal(what)
	if err != nil {
		return err
	}
	flags := changeFlags{Reason: c.Reason, DryRun: c.DryRun, Format: c.Format}
	return c.change(ctx, "taken back", "/api/v1/registry/undo", flags, url.Values{}, "application/json", body)
}

type registryChangesCmd struct {
	client
	ID     string `arg:"" optional:"" help:"Id of a change."`
	Format string `default:"table" enum:"table,json" help:"table or json (a change a line)."`
}

// changeRecord is a command on many PVs.
type changeRecord struct {
	ID      string    `json:"id"`
	Command string    `json:"command"`
	Actor   string    `json:"actor"`
	Reason  string    `json:"reason"`
	PVs     int       `json:"pvs"`
	Time    time.Time `json:"time"`
	Closed  uint64    `json:"closed"`
	Changed int       `json:"changed"`
	Failed  int       `json:"failed"`
}

// Run lists changes.
func (c *registryChangesCmd) Run(ctx context.Context) error {
	var raw []json.RawMessage
	var err error
	if c.ID == "" {
		raw, err = c.pages(ctx, "/api/v1/changes", url.Values{}, "changes")
	} else {
		var one []byte
		one, err = c.get(ctx, "/api/v1/changes/"+url.PathEscape(c.ID), nil)
		raw = []json.RawMessage{[]byte(strings.TrimSpace(string(one)))}
	}
	if err != nil {
		return err
	}
	if c.Format == "json" {
		return printLines(os.Stdout, raw)
	}
	changes, err := decodeAll[changeRecord](raw)
	if err != nil {
		return err
	}
	return printChanges(os.Stdout, changes)
}

func printChanges(w io.Writer, changes []changeRecord) error {
	rows := make([][]string, len(changes))
	for i, c := range changes {
		changed, failed := grouped(c.Changed), grouped(c.Failed)
		if c.Closed == 0 {
			changed, failed = "under way", ""
		}
		rows[i] = []string{second(c.Time), c.ID, c.Command, grouped(c.PVs), changed, failed, c.Actor, c.Reason}
	}
	return printTable(w, "TIME\tCHANGE\tCOMMAND\tPVS\tCHANGED\tFAILED\tWHO\tWHY", rows)
}

type registryVerifyCmd struct{ client }

// Run compares the registry with its log.
func (c *registryVerifyCmd) Run(ctx context.Context) error {
	answer, err := c.all(ctx, http.MethodPost, "/api/v1/registry/verify", nil, nil)
	if err != nil {
		return err
	}
	var found struct {
		OK         bool   `json:"ok"`
		Seq        uint64 `json:"seq"`
		Difference string `json:"difference"`
	}
	if err := json.Unmarshal(answer, &found); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	if !found.OK {
		return fmt.Errorf("the registry differs from its log: %s (stop pvlog, move DATA/registry aside, and start it again: it is rebuilt from the log)", found.Difference)
	}
	fmt.Printf("the registry is what its log gives, up to event %d\n", found.Seq)
	return nil
}
