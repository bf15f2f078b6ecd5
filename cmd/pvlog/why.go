package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"pvlog/consumers/web"
)

type whyCmd struct {
	client
	PV     string `arg:"" name:"pv" help:"PV name; it need not be archived."`
	Format string `default:"table" enum:"table,json" help:"table or json."`
}

// Run walks the way of the PV's samples; its exit code says whether they pass.
func (c *whyCmd) Run(ctx context.Context) error {
	answer, err := c.get(ctx, "/api/v1/pvs/"+url.PathEscape(c.PV)+"/why", nil)
	if err != nil {
		return err
	}
	var d web.Diagnosis
	if err := json.Unmarshal(answer, &d); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	if c.Format == "json" {
		_, err = fmt.Printf("%s", answer)
	} else {
		err = printDiagnosis(os.Stdout, d)
	}
	if err != nil || d.Broken == "" {
		return err
	}
	return exitError{exitPartial, fmt.Errorf("%s: samples do not pass the link %q", c.PV, d.Broken)}
}

// marks are how links look; the eye finds the one that is broken.
var marks = map[web.LinkState]string{
	web.LinkOK: "ok", web.LinkWaiting: "WAITING", web.LinkBroken: "BROKEN", web.LinkUnknown: "-",
}

func printDiagnosis(w io.Writer, d web.Diagnosis) error {
	fmt.Fprintf(w, "%s: %s\n\n", d.Asked, d.Verdict)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range d.Links {
		detail := l.Detail
		if !l.Since.IsZero() && l.State != web.LinkOK {
			detail += ", since " + l.Since.UTC().Format(time.DateTime) + " UTC"
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\n", marks[l.State], l.Name, strings.ReplaceAll(detail, "\n", " "))
		if l.Do != "" && l.State != web.LinkOK {
			fmt.Fprintf(table, "\t\t-> %s\n", l.Do)
		}
	}
	return table.Flush()
}
