package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"pvlog/consumers/web"
	"pvlog/ingest/policy"
)

// policyCmd is about how a site's policy file has PVs archived.
type policyCmd struct {
	List    policyListCmd    `cmd:"" help:"List the policies that can be asked for by name."`
	Print   policyPrintCmd   `cmd:"" help:"Print the policy file in force, or the built-in rules as a starting point."`
	Check   policyCheckCmd   `cmd:"" help:"Check a policy file (YAML rules or policies.py); no server is needed."`
	Reload  policyReloadCmd  `cmd:"" help:"Let the server read its policy file now."`
	Preview policyPreviewCmd `cmd:"" help:"Show which PVs the policies in force would change, and how."`
	Apply   policyApplyCmd   `cmd:"" help:"Make those changes; they are events, and can be undone."`
}

// policies is the answer of /api/v1/policies.
type policies struct {
	File     string       `json:"file"`
	Text     string       `json:"text"`
	Fault    string       `json:"fault"`
	Policies []web.Policy `json:"policies"`
}

func (c client) policies(ctx context.Context) (p policies, err error) {
	answer, err := c.get(ctx, "/api/v1/policies", nil)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(answer, &p); err != nil {
		return p, fmt.Errorf("read the server's answer: %w", err)
	}
	if p.Fault != "" {
		fmt.Fprintf(os.Stderr, "pvlog: a newer version of the policy file is not in force: %s\n", p.Fault)
	}
	return p, nil
}

type policyListCmd struct{ client }

// Run lists the policies.
func (c *policyListCmd) Run(ctx context.Context) error {
	p, err := c.policies(ctx)
	if err != nil {
		return err
	}
	return printPolicies(os.Stdout, p.Policies)
}

func printPolicies(w io.Writer, list []web.Policy) error {
	rows := make([][]string, len(list))
	for i, p := range list {
		rows[i] = []string{p.Name, p.Description}
	}
	return printTable(w, "POLICY\tDESCRIPTION", rows)
}

type policyPrintCmd struct {
	client
	Default bool `help:"The built-in rules, whatever the server has; no server is needed."`
}

// Run prints the text of the policies.
func (c *policyPrintCmd) Run(ctx context.Context) error {
	if c.Default {
		rules, err := policy.Default()
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(rules.Text())
		return err
	}
	p, err := c.policies(ctx)
	if err != nil {
		return err
	}
	_, err = io.WriteString(os.Stdout, p.Text)
	return err
}

type policyCheckCmd struct {
	File string `arg:"" type:"existingfile" help:"Policy file."`
}

// Run tells whether the file could be in force, and what it offers.
func (c *policyCheckCmd) Run() error {
	text, err := os.ReadFile(c.File)
	if err != nil {
		return fmt.Errorf("read the policy file: %w", err)
	}
	rules, err := policy.Parse(filepath.Base(c.File), text)
	if err != nil {
		return err
	}
	for _, warning := range rules.Warnings() {
		fmt.Fprintf(os.Stderr, "pvlog: %s\n", warning)
	}
	list := rules.List()
	named := make([]web.Policy, len(list))
	for i, n := range list {
		named[i] = web.Policy(n)
	}
	return printPolicies(os.Stdout, named)
}

type policyReloadCmd struct{ client }

// Run lets the server read its file.
func (c *policyReloadCmd) Run(ctx context.Context) error {
	if _, err := c.post(ctx, "/api/v1/policies/reload", nil, nil); err != nil {
		return err
	}
	p, err := c.policies(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("in force: %s\n", p.File)
	return nil
}

type policyPreviewCmd struct {
	client
	Glob   string `arg:"" optional:"" default:"*" help:"Glob that the PVs match."`
	Format string `default:"table" enum:"table,json" help:"table or json."`
}

// Run shows what would change; nothing is changed.
func (c *policyPreviewCmd) Run(ctx context.Context) error {
	answer, err := c.get(ctx, "/api/v1/policies/preview", url.Values{"glob": {c.Glob}})
	if err != nil {
		return err
	}
	return reportPolicyChanges(os.Stdout, answer, c.Format, "would change")
}

type policyApplyCmd struct {
	client
	Glob   string `arg:"" help:"Glob that the PVs match; '*' for all."`
	Reason string `placeholder:"TEXT" help:"Why, for the history."`
	Format string `default:"table" enum:"table,json" help:"table or json."`
}

// Run makes the changes of the preview.
func (c *policyApplyCmd) Run(ctx context.Context) error {
	answer, err := c.post(ctx, "/api/v1/policies/apply", because(c.Reason), map[string]string{"glob": c.Glob})
	if err != nil {
		return err
	}
	return reportPolicyChanges(os.Stdout, answer, c.Format, "changed")
}

// reportPolicyChanges prints a line per PV; the error counts those that failed.
func reportPolicyChanges(w io.Writer, answer []byte, format, verb string) error {
	var a struct{ Changes []web.PolicyChange }
	if err := json.Unmarshal(answer, &a); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	if format == "json" {
		_, err := w.Write(answer)
		return err
	}
	failed := 0
	rows := make([][]string, len(a.Changes))
	for i, change := range a.Changes {
		if change.Error != "" {
			failed++
		}
		rows[i] = []string{string(change.PV), change.Policy, policyChangeText(change)}
	}
	if err := printTable(w, "PV\tPOLICY\tCHANGE", rows); err != nil {
		return err
	}
	fmt.Fprintf(w, "%d PVs %s\n", len(a.Changes)-failed, verb)
	if failed > 0 {
		return exitError{exitPartial, errors.New(fmt.Sprint(failed, " PVs cannot be changed"))}
	}
	return nil
}

func policyChangeText(c web.PolicyChange) string {
	switch {
	case c.Error != "":
		return "failed: " + c.Error
	case c.Stop:
		return "not archived any more (" + c.Why + ")"
	}
	words := make([]string, len(c.Changes))
	for i, d := range c.Changes {
		words[i] = fmt.Sprintf("%s %s -> %s", d.Name, orNone(d.From), orNone(d.To))
	}
	return strings.Join(words, ", ")
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
