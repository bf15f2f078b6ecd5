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
	"slices"
	"strings"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// importCmd lets a running server adopt the partition files of another archive.
// The server reads the files itself: it is on the machine that has them, and it
// alone writes into its stores (design D16).
type importCmd struct {
	client
	Dir     string `arg:"" type:"existingdir" name:"dir" help:"Folder of the other archive's files, on the server's machine: the root of a store of the Appliance, or one above several."`
	As      string `placeholder:"STORE" help:"Store to put the files into; default: the one of their granularity."`
	Copy    bool   `xor:"mode" help:"Copy the files; the other archive keeps its own. The default."`
	Link    bool   `xor:"mode" help:"Share the files with the other archive, which must not write them any more: no space, same file system."`
	Move    bool   `xor:"mode" help:"Move the files."`
	InPlace bool   `xor:"mode" name:"in-place" help:"DIR is the root of a store of this server: register the PVs of its files."`
	Merge   bool   `help:"Merge the samples of a file in whose place there is another one; default: tell."`
	Archive bool   `help:"Archive the PVs that were not registered; default: they are registered as paused."`
	DryRun  bool   `name:"dry-run" help:"Check all files, tell what would be done and do nothing."`
	JSON    bool   `name:"json" help:"Print the server's answer for each PV as a line of JSON."`
}

// importedFile is what became of a file.
type importedFile struct {
	verified
	Store       string `json:"store"`
	Outcome     string `json:"outcome"`
	Why         string `json:"why"`
	Granularity string `json:"granularity"`
	Added       int    `json:"added"`
	Present     int    `json:"present"`
	Differ      int    `json:"differ"`
	Left        int    `json:"left"`
}

// importedPV is the server's answer about one PV.
type importedPV struct {
	PV         string         `json:"pv"`
	Registered string         `json:"registered"`
	Files      []importedFile `json:"files"`
}

// Run finds the files, asks the server to adopt them PV by PV, and reports. It
// can be interrupted and run again: what is done is found to be done.
func (c *importCmd) Run(ctx context.Context) error {
	var err error
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return err
	}
	out := printTo(os.Stdout)
	report := newImportReport(out, c)
	pvs, err := c.find(ctx, report)
	if err != nil {
		return err
	}
	if len(pvs) == 0 && len(report.problems) == 0 {
		return fmt.Errorf("no .pb file in %s", c.Dir)
	}
	meter := newMeter()
	for i, pv := range pvs {
		meter.show("%d of %d PVs, %d files", i, len(pvs), report.files)
		answer, err := c.ask(ctx, pv)
		if ctx.Err() != nil {
			err = ctx.Err()
		} else if err != nil {
			report.problem("%s: %v", pv.name, err)
			report.failed++
			continue
		}
		if err != nil {
			meter.end()
			return errors.Join(fmt.Errorf("%w: the same command goes on", err), out.flush())
		}
		report.take(answer)
	}
	meter.end()
	report.end()
	if err := out.flush(); err != nil {
		return err
	}
	if n := report.unsolved(); n > 0 {
		return exitError{exitPartial, fmt.Errorf("%d files or PVs are not imported", n)}
	}
	return nil
}

// foundPV is a PV and its files.
type foundPV struct {
	name  schema.PVName
	files []string
}

// find walks the folder and reads the headers, for the names of the PVs: a path
// does not tell ':' from '-' and '/'. A file without a header is the server's to
// judge with those beside it, so it is told here.
func (c *importCmd) find(ctx context.Context, report *importReport) ([]*foundPV, error) {
	byName := map[schema.PVName]*foundPV{}
	var order []*foundPV
	meter := newMeter()
	defer meter.end()
	err := partition.Walk(c.Dir, func(path string, what partition.Found) error {
		switch ext := filepath.Ext(path); {
		case ctx.Err() != nil:
			return ctx.Err()
		case what == partition.Remains:
			report.left++
			return nil
		case what == partition.Other && slices.Contains([]string{".zip", ".tar", ".parquet"}, ext):
			report.problem("%s: pvlog does not read %s files: let the Appliance unpack them", path, ext)
			return nil
		case what != partition.Partition:
			return nil
		}
		report.found++
		meter.show("%d files of %d PVs", report.found, len(order))
		name, why := headerName(path)
		if why != "" {
			report.problem("%s: %s", path, why)
			report.unread++
			return nil
		}
		pv := byName[name]
		if pv == nil {
			pv = &foundPV{name: name}
			byName[name], order = pv, append(order, pv)
		}
		pv.files = append(pv.files, path)
		return nil
	})
	return order, err
}

// headerName reads the name in a file's header, or tells why there is none.
func headerName(path string) (schema.PVName, string) {
	reader, err := partition.Open(path)
	if errors.Is(err, io.EOF) {
		return "", "it has no header: it is empty, or a write was cut off"
	}
	if err != nil {
		return "", fmt.Sprintf("%v: `pvlog repair` can find the header of a damaged file in those beside it", err)
	}
	stated := reader.Header().PV
	if err := reader.Close(); err != nil {
		return "", err.Error()
	}
	name, err := schema.ParsePVName(string(stated))
	if err != nil {
		return "", err.Error()
	}
	return name, ""
}

// importBody is a request to adopt the files of one PV.
type importBody struct {
	Files  []string `json:"files"`
	Mode   string   `json:"mode"`
	Store  string   `json:"store,omitempty"`
	Merge  bool     `json:"merge"`
	State  string   `json:"state"`
	DryRun bool     `json:"dry_run"`
}

func (c *importCmd) ask(ctx context.Context, pv *foundPV) (importedPV, error) {
	body := importBody{Files: pv.files, Mode: "copy", Store: c.As, Merge: c.Merge, State: "paused", DryRun: c.DryRun}
	switch {
	case c.Link:
		body.Mode = "link"
	case c.Move:
		body.Mode = "move"
	case c.InPlace:
		body.Mode = "in-place"
	}
	if c.Archive {
		body.State = "archiving"
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		return importedPV{}, err
	}
	answer, err := c.all(ctx, http.MethodPost, "/api/v1/pvs/"+url.PathEscape(string(pv.name))+"/import", url.Values{"reason": {"import of " + c.Dir}}, encoded)
	if err != nil {
		return importedPV{}, err
	}
	var done importedPV
	if err := json.Unmarshal(answer, &done); err != nil {
		return importedPV{}, fmt.Errorf("read the server's answer: %w", err)
	}
	return done, nil
}

// storeLines are the lines of the configuration that a granularity needs.
func storeLines(granularity string) string {
	name := "X" + strings.TrimPrefix(granularity, "PARTITION_")
	switch granularity {
	case string(partition.PartitionDay):
		name = "MTS"
	case string(partition.PartitionMonth), string(partition.PartitionYear):
		name = "LTS"
	case string(partition.PartitionHour):
		name = "STS"
	}
	return fmt.Sprintf("  - name: %s\n    granularity: %s\n    root: \"\"    # DATA/stores/%s\n", name, granularity, name)
}
