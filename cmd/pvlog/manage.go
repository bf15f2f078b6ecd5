package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// pvList is the PVs that a command is about.
type pvList struct {
	PVs []string `arg:"" name:"pv" help:"PV names; globs where PVs are archived already; - reads names from standard input."`
}

// names gives the PVs, those of standard input included.
func (l pvList) names() ([]string, error) {
	var names []string
	for _, pv := range l.PVs {
		if pv != "-" {
			names = append(names, pv)
			continue
		}
		read, err := readNames(os.Stdin)
		if err != nil {
			return nil, fmt.Errorf("read PV names from standard input: %w", err)
		}
		names = append(names, read...)
	}
	if len(names) == 0 {
		return nil, exitError{exitUsage, errors.New("there are no PV names on standard input")}
	}
	return names, nil
}

// readNames reads names separated by white space or commas; # begins a comment.
func readNames(r io.Reader) ([]string, error) {
	var names []string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		names = append(names, strings.FieldsFunc(line, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\r' })...)
	}
	return names, lines.Err()
}

// outcome is what the server says of one PV of a command.
type outcome struct {
	PV         string `json:"pvName"`
	Status     string `json:"status"`
	Validation string `json:"validation"`
}

// reportOutcomes prints an outcome per PV; the error counts those that failed.
func reportOutcomes(w io.Writer, answer []byte) error {
	var outcomes []outcome
	if err := json.Unmarshal(answer, &outcomes); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	failed := 0
	for _, o := range outcomes {
		line := o.Status
		if o.Validation != "" {
			failed++
			line = "failed: " + o.Validation
		}
		fmt.Fprintf(w, "%s: %s\n", o.PV, line)
	}
	if failed == 0 {
		return nil
	}
	code := exitPartial
	if failed == len(outcomes) {
		code = exitFailed
	}
	return exitError{code, fmt.Errorf("%d of %d PVs failed", failed, len(outcomes))}
}

type archiveCmd struct {
	client
	pvList
	Method string        `default:"MONITOR" enum:"MONITOR,SCAN" help:"MONITOR takes every update, SCAN at most one per period."`
	Period time.Duration `default:"1s" help:"Sampling period."`
}

// Run asks for the PVs to be archived.
func (c *archiveCmd) Run(ctx context.Context) error {
	names, err := c.names()
	if err != nil {
		return err
	}
	type request struct {
		PV     string `json:"pv"`
		Method string `json:"samplingmethod"`
		Period string `json:"samplingperiod"`
	}
	requests := make([]request, len(names))
	for i, pv := range names {
		requests[i] = request{pv, c.Method, strconv.FormatFloat(c.Period.Seconds(), 'f', -1, 64)}
	}
	answer, err := c.post(ctx, "/mgmt/bpl/archivePV", nil, requests)
	if err != nil {
		return err
	}
	return reportOutcomes(os.Stdout, answer)
}

// changeCmd is a command on PVs that are archived.
type changeCmd struct {
	client
	pvList
}

func (c *changeCmd) change(ctx context.Context, path string) error {
	names, err := c.names()
	if err != nil {
		return err
	}
	answer, err := c.post(ctx, path, nil, names)
	if err != nil {
		return err
	}
	return reportOutcomes(os.Stdout, answer)
}

type pauseCmd struct{ changeCmd }

// Run stops sampling until the PVs are resumed.
func (c *pauseCmd) Run(ctx context.Context) error {
	return c.change(ctx, "/mgmt/bpl/pauseArchivingPV")
}

type resumeCmd struct{ changeCmd }

// Run lets sampling go on.
func (c *resumeCmd) Run(ctx context.Context) error {
	return c.change(ctx, "/mgmt/bpl/resumeArchivingPV")
}

type stopCmd struct{ changeCmd }

// Run ends sampling; registration and data stay.
func (c *stopCmd) Run(ctx context.Context) error {
	return c.change(ctx, "/mgmt/bpl/stopArchivingPV")
}

type deleteCmd struct {
	client
	pvList
	Data bool `name:"data" help:"Move the PVs' files to the store's .trash folder as well."`
}

// Run forgets PVs that are paused or stopped.
func (c *deleteCmd) Run(ctx context.Context) error {
	names, err := c.names()
	if err != nil {
		return err
	}
	answer, err := c.post(ctx, "/mgmt/bpl/deletePV", url.Values{"deleteData": {strconv.FormatBool(c.Data)}}, names)
	if err != nil {
		return err
	}
	var o outcome
	if err := json.Unmarshal(answer, &o); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	if o.Validation != "" {
		code := exitPartial // the answer is one for all of them
		if len(names) == 1 {
			code = exitFailed
		}
		return exitError{code, errors.New(o.Validation)}
	}
	fmt.Println("deleted")
	return nil
}
