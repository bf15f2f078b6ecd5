package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
)

// aliasCmd is about names that stand for PVs.
type aliasCmd struct {
	List   aliasListCmd   `cmd:"" help:"List aliases."`
	Add    aliasAddCmd    `cmd:"" help:"Let a name stand for a PV."`
	Remove aliasRemoveCmd `cmd:"" help:"Let a name stand for nothing any more."`
	Join   aliasJoinCmd   `cmd:"" help:"Merge an archived PV into the one that it is an alias of."`
}

type aliasListCmd struct {
	client
	Glob   string `arg:"" optional:"" default:"*" help:"Glob that the aliases match."`
	PV     string `name:"pv" placeholder:"PV" help:"Only the aliases of this PV."`
	Found  bool   `help:"In place of aliases, archived PVs that their IOC knows as aliases of others."`
	Format string `default:"table" enum:"table,json" help:"table or json (an alias a line)."`
}

// alias is a name that stands for a PV.
type alias struct {
	Alias string `json:"alias"`
	PV    string `json:"pv"`
}

// Run lists aliases in their order.
func (c *aliasListCmd) Run(ctx context.Context) error {
	query := url.Values{"glob": {c.Glob}, "limit": {"10000"}}
	if c.PV != "" {
		query.Set("pv", c.PV)
	}
	path := "/api/v1/aliases"
	if c.Found {
		path, query = "/api/v1/unjoined", url.Values{}
	}
	raw, err := c.pages(ctx, path, query, "aliases")
	if err != nil {
		return err
	}
	if c.Format == "json" {
		return printLines(os.Stdout, raw)
	}
	aliases, err := decodeAll[alias](raw)
	if err != nil {
		return err
	}
	return printAliases(os.Stdout, aliases)
}

func printAliases(w io.Writer, aliases []alias) error {
	rows := make([][]string, len(aliases))
	for i, a := range aliases {
		rows[i] = []string{a.Alias, a.PV}
	}
	return printTable(w, "ALIAS\tPV", rows)
}

type aliasAddCmd struct {
	client
	Alias  string `arg:"" help:"The further name."`
	PV     string `arg:"" name:"pv" help:"The PV that it stands for; it must be registered."`
	Reason string `placeholder:"TEXT" help:"Why, for the history."`
}

// Run lets a name stand for a PV.
func (c *aliasAddCmd) Run(ctx context.Context) error {
	if _, err := c.post(ctx, "/api/v1/aliases", because(c.Reason), alias{c.Alias, c.PV}); err != nil {
		return err
	}
	fmt.Printf("%s is an alias of %s\n", c.Alias, c.PV)
	return nil
}

type aliasRemoveCmd struct {
	client
	Alias  string `arg:"" help:"The alias."`
	Reason string `placeholder:"TEXT" help:"Why, for the history."`
}

// Run lets a name stand for nothing any more.
func (c *aliasRemoveCmd) Run(ctx context.Context) error {
	if _, err := c.all(ctx, http.MethodDelete, "/api/v1/aliases/"+url.PathEscape(c.Alias), because(c.Reason), nil); err != nil {
		return err
	}
	fmt.Printf("%s is no alias any more\n", c.Alias)
	return nil
}

type aliasJoinCmd struct {
	client
	PV     string `arg:"" name:"pv" help:"The PV whose name becomes an alias (pvlog alias list --found)."`
	With   string `placeholder:"PV" help:"The PV to join it with; default: the one whose name its IOC gave."`
	Lossy  bool   `help:"Leave samples in the trash at whose instant the other PV has another value; without it they are refused."`
	DryRun bool   `name:"dry-run" help:"Change nothing, and say what would be merged."`
	Reason string `placeholder:"TEXT" help:"Why, for the history."`
}

// Run joins a PV with another one.
func (c *aliasJoinCmd) Run(ctx context.Context) error {
	body := map[string]any{"pv": c.With, "lossy": c.Lossy, "dry_run": c.DryRun, "reason": c.Reason}
	answer, err := c.post(ctx, "/api/v1/pvs/"+url.PathEscape(c.PV)+"/join", nil, body)
	if err != nil {
		return err
	}
	var done joinAnswer
	if err := json.Unmarshal(answer, &done); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	fmt.Println(done)
	return nil
}

// joinAnswer is what became of a join.
type joinAnswer struct {
	PV       string `json:"pv"`
	AliasOf  string `json:"alias_of"`
	ChangeID string `json:"change_id"`
	DryRun   bool   `json:"dry_run"`
	Samples  int    `json:"samples"`
	Merged   int    `json:"merged"`
	There    int    `json:"there"`
	Differs  int    `json:"differs"`
}

// String tells it.
func (j joinAnswer) String() string {
	switch {
	case j.DryRun:
		return fmt.Sprintf("%s would become an alias of %s, and its %s samples be merged", j.PV, j.AliasOf, grouped(j.Samples))
	case j.ChangeID == "":
		return fmt.Sprintf("%s is an alias of %s already", j.PV, j.AliasOf)
	}
	text := fmt.Sprintf("%s is an alias of %s: %s samples were merged, %s were there already", j.PV, j.AliasOf, grouped(j.Merged), grouped(j.There))
	if j.Differs > 0 {
		text += fmt.Sprintf(", %s are in the trash alone", grouped(j.Differs))
	}
	return text + " (pvlog registry undo " + j.ChangeID + " takes it back)"
}

// because is the query of a reason, if there is one.
func because(reason string) url.Values {
	if reason == "" {
		return nil
	}
	return url.Values{"reason": {reason}}
}
