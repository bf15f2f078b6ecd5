package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
)

type registryExportCmd struct {
	client
	File string `arg:"" optional:"" default:"-" help:"Where to write it; - is standard output."`
	Glob string `arg:"" optional:"" default:"*" help:"Glob that the names match."`
}

// Run writes the configuration of PVs as an Appliance reads it. A file is there
// when it is complete, or not at all.
func (c *registryExportCmd) Run(ctx context.Context) error {
	stream, err := c.open(ctx, http.MethodGet, "/api/v1/export", url.Values{"glob": {c.Glob}}, nil)
	if err != nil {
		return err
	}
	if c.File == "-" {
		_, err = io.Copy(os.Stdout, stream)
	} else {
		err = writeWhole(c.File, stream)
	}
	if err = errors.Join(err, stream.Close()); err != nil {
		return fmt.Errorf("export the configuration: %w", err)
	}
	return nil
}

// writeWhole writes a file under another name first.
func writeWhole(path string, r io.Reader) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.part")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

type registryImportCmd struct {
	client
	File   string `arg:"" help:"JSON that pvlog registry export or an Appliance's exportConfig wrote; - is standard input."`
	Reason string `placeholder:"TEXT" help:"Why, for the history."`
}

// importAnswer is what the server took and what it did not.
type importAnswer struct {
	Imported int `json:"imported"`
	Aliases  int `json:"aliases"`
	Errors   []struct {
		PV     string `json:"pv"`
		Detail string `json:"detail"`
	} `json:"errors"`
	Notes []string `json:"notes"`
}

// Run registers the PVs of a file; those that are registered already stay as
// they are.
func (c *registryImportCmd) Run(ctx context.Context) error {
	body, err := readFile(c.File)
	if err != nil {
		return exitError{exitUsage, fmt.Errorf("read the configuration: %w", err)}
	}
	answer, err := c.all(ctx, http.MethodPost, "/api/v1/import", because(c.Reason), body)
	if err != nil {
		return err
	}
	var done importAnswer
	if err := json.Unmarshal(answer, &done); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	return done.report(os.Stdout, os.Stderr)
}

func readFile(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(path)
}

// report tells what was taken; the error counts what was not.
func (a importAnswer) report(out, errs io.Writer) error {
	fmt.Fprintf(out, "%s PVs and %s aliases imported\n", grouped(a.Imported), grouped(a.Aliases))
	for _, note := range a.Notes {
		fmt.Fprintln(out, "note: "+cell(note))
	}
	for _, e := range a.Errors[:min(len(a.Errors), maxFailures)] {
		fmt.Fprintf(errs, "%s: %s\n", cell(e.PV), cell(e.Detail))
	}
	if n := len(a.Errors) - maxFailures; n > 0 {
		fmt.Fprintf(errs, "and %s more\n", grouped(n))
	}
	if len(a.Errors) == 0 {
		return nil
	}
	code := exitPartial
	if a.Imported+a.Aliases == 0 {
		code = exitFailed
	}
	return exitError{code, fmt.Errorf("%d entries were not imported", len(a.Errors))}
}
