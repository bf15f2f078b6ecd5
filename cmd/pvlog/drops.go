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
	"text/tabwriter"
	"time"
)

// dropsCmd asks a running server: the drop log belongs to its process.
type dropsCmd struct {
	PV     string `arg:"" optional:"" default:"*" help:"PV name or glob."`
	Reason string `help:"Only this reason: drift_future, drift_past, before_1991, nanos, order, type, file, damaged, unregistered."`
	Limit  int    `default:"1000" help:"Newest drops to list at most."`
	Format string `default:"table" enum:"table,json" help:"table or json."`
	HTTP   string `name:"http" env:"PVLOG_HTTP" default:"127.0.0.1:17665" help:"Address of the server."`
}

// drop is one element of /api/v1/drops.
type drop struct {
	PV       string          `json:"pv"`
	Reason   string          `json:"reason"`
	Detail   string          `json:"detail"`
	Secs     int64           `json:"secs"`
	Nanos    uint32          `json:"nanos"`
	Severity int32           `json:"severity"`
	Status   int32           `json:"status"`
	Value    json.RawMessage `json:"value"`
}

// Run prints the drops, oldest first.
func (c *dropsCmd) Run(ctx context.Context) error {
	query := url.Values{"pv": {c.PV}, "reason": {c.Reason}, "limit": {strconv.Itoa(c.Limit)}}
	body, err := get(ctx, "http://"+c.HTTP+"/api/v1/drops?"+query.Encode())
	if err != nil {
		return err
	}
	if c.Format == "json" {
		_, err := os.Stdout.Write(body)
		return err
	}
	var drops []drop
	if err := json.Unmarshal(body, &drops); err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.HTTP, err)
	}
	return printDrops(os.Stdout, drops)
}

func printDrops(w io.Writer, drops []drop) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PV\tTIME\tVALUE\tSEV\tREASON\tDETAIL")
	for _, d := range drops {
		at := time.Unix(d.Secs, int64(d.Nanos)).UTC().Format("2006-01-02T15:04:05.000000000Z")
		fmt.Fprintf(table, "%s\t%s\t%.40s\t%d\t%s\t%s\n", d.PV, at, d.Value, d.Severity, d.Reason, d.Detail)
	}
	return table.Flush()
}

// get fetches a page of the server; the error says what the server said.
func get(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%w (is `pvlog serve` running there? --http names another address)", err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", address, response.Status, body)
	}
	return body, err
}
