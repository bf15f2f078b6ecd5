package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
)

// serverFiles is the API's answer about the partitions of one PV.
type serverFiles[T any] struct {
	Files []T `json:"files"`
}

// ask lets the server verify the partitions of PVs.
func (c *verifyCmd) ask(ctx context.Context, take func(verified) error) error {
	query := url.Values{"max": {fmt.Sprint(c.Max)}}
	return askFiles(ctx, c.client, c.PV, http.MethodGet, "verify", query, take)
}

// ask lets the server repair the partitions of PVs.
func (c *repairCmd) ask(ctx context.Context, take func(repairedFile) error) error {
	query := url.Values{}
	if c.DryRun {
		query.Set("dry_run", "true")
	}
	if c.Future != "" {
		query.Set("future", "true")
	}
	return askFiles(ctx, c.client, c.glob(), http.MethodPost, "repair", query, take)
}

// askFiles asks about one PV after the other. What goes wrong with one is told,
// and the others are asked about.
func askFiles[T any](ctx context.Context, c client, glob, method, what string, query url.Values, take func(T) error) error {
	names, err := c.match(ctx, glob)
	if err != nil {
		return err
	}
	meter := newMeter()
	defer meter.end()
	failed := 0
	for i, pv := range names {
		meter.show("%d of %d PVs", i, len(names))
		answer, err := c.all(ctx, method, "/api/v1/pvs/"+url.PathEscape(pv)+"/"+what, query, nil)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			meter.end()
			fmt.Fprintf(os.Stderr, "%s: %v\n", pv, err)
			failed++
			continue
		}
		var files serverFiles[T]
		if err := json.Unmarshal(answer, &files); err != nil {
			return fmt.Errorf("read the server's answer: %w", err)
		}
		for _, f := range files.Files {
			if err := take(f); err != nil {
				return err
			}
		}
	}
	if failed > 0 {
		return exitError{exitPartial, fmt.Errorf("%d of %d PVs failed", failed, len(names))}
	}
	return nil
}

// match gives the names of registered PVs that a glob matches, no aliases.
func (c client) match(ctx context.Context, glob string) ([]string, error) {
	raw, err := c.pages(ctx, "/api/v1/pvs", url.Values{"glob": {glob}, "limit": {"10000"}}, "pvs")
	if err != nil {
		return nil, err
	}
	pvs, err := decodeAll[registeredPV](raw)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range pvs {
		if p.AliasOf == "" {
			names = append(names, p.PV)
		}
	}
	if len(names) == 0 {
		return nil, errors.New("no registered PV matches " + glob)
	}
	return names, nil
}
