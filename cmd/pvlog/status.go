package main

import (
	"cmp"
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
	"text/tabwriter"
	"time"
)

type listCmd struct {
	client
	Glob  string `arg:"" optional:"" default:"*" help:"Glob that the names match."`
	Limit int    `default:"-1" help:"Names to list at most; -1 for all."`
}

// Run prints the names of registered PVs.
func (c *listCmd) Run(ctx context.Context) error {
	answer, err := c.get(ctx, "/mgmt/bpl/getAllPVs", url.Values{"pv": {c.Glob}, "limit": {strconv.Itoa(c.Limit)}})
	if err != nil {
		return err
	}
	var names []string
	if err := json.Unmarshal(answer, &names); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	for _, name := range names {
		fmt.Println(name)
	}
	return nil
}

type statusCmd struct {
	client
	pvList
	Format string `default:"table" enum:"table,json" help:"table or json."`
}

// pvStatus is an element of getPVStatus.
type pvStatus struct {
	PV        string `json:"pvName"`
	Status    string `json:"status"`
	Channel   string `json:"channelState"`
	LastEvent string `json:"lastEvent"`
	Losses    string `json:"connectionLossRegainCount"`
	Dropped   string `json:"eventsDropped"` // absent of a PV without a channel
}

// Run tells how PVs fare; its exit code says whether all are being archived.
func (c *statusCmd) Run(ctx context.Context) error {
	names, err := c.names()
	if err != nil {
		return err
	}
	answer, err := c.post(ctx, "/mgmt/bpl/getPVStatus", nil, names)
	if err != nil {
		return err
	}
	var states []pvStatus
	if err := json.Unmarshal(answer, &states); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	if c.Format == "json" {
		_, err = fmt.Printf("%s", answer)
	} else {
		err = errors.Join(c.printFaults(ctx, os.Stderr), printStates(os.Stdout, states))
	}
	if err != nil {
		return err
	}
	return notArchived(states)
}

// printFaults tells what is wrong with the server as a whole.
func (c *statusCmd) printFaults(ctx context.Context, w io.Writer) error {
	answer, err := c.health(ctx)
	if err != nil {
		return err
	}
	var health struct {
		Faults []struct {
			Part, Message string
			Since         time.Time
		}
	}
	if err := json.Unmarshal(answer, &health); err != nil {
		return fmt.Errorf("read the server's health: %w", err)
	}
	for _, f := range health.Faults {
		since := ""
		if !f.Since.IsZero() {
			since = " since " + f.Since.Local().Format(time.DateTime)
		}
		if _, err := fmt.Fprintf(w, "FAULT of the %s%s: %s\n", f.Part, since, f.Message); err != nil {
			return err
		}
	}
	return nil
}

// health asks for /healthz, whose answer is good in any state.
func (c client) health(ctx context.Context) ([]byte, error) {
	address := url.URL{Scheme: "http", Host: strings.TrimPrefix(c.Server, "http://"), Path: "/healthz"}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return answer, errors.Join(err, response.Body.Close())
}

func printStates(w io.Writer, states []pvStatus) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PV\tSTATUS\tCHANNEL\tLAST EVENT\tLOSSES\tDROPPED")
	for _, s := range states {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", s.PV, s.Status, s.Channel, s.LastEvent, s.Losses, cmp.Or(s.Dropped, "0"))
	}
	return table.Flush()
}

func notArchived(states []pvStatus) error {
	not := 0
	for _, s := range states {
		if s.Status != "Being archived" {
			not++
		}
	}
	if len(states) > 0 && not == 0 {
		return nil
	}
	return exitError{exitPartial, fmt.Errorf("%d of %d PVs are not being archived", not, len(states))}
}
