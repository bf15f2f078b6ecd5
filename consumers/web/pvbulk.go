package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"pvlog/schema"
)

// bulkBody is a request about PVs: what it asks for all of them, and the PVs.
type bulkBody struct {
	bulkEntry                   // of one PV, or what entries of PVs do not state
	PVs       []json.RawMessage `json:"pvs"` // names, or objects like bulkEntry
	Glob      string            `json:"glob"`
	ChangeID  string            `json:"change_id"`
	Reason    string            `json:"reason"`
	DryRun    bool              `json:"dry_run"`
	Data      bool              `json:"data"` // of delete: the files, too
}

// bulkEntry is one PV of a request.
type bulkEntry struct {
	PV string `json:"pv"`
	settingsEdit
	Alias          string            `json:"alias"`      // of archive: a name that stands for the PV
	TimeLimit      optional[float64] `json:"time_limit"` // of archive: seconds; given up if it has not connected by then, 0: never
	SkipAliasCheck optional[bool]    `json:"skip_alias_check"`
}

// bulkKind is what a command takes.
type bulkKind struct {
	command string
	entry   []string // members of an entry beside pv
	options []string // further members of the body, also as parameters
	globs   bool     // patterns stand for registered PVs
	run     func(*bulkRun)
}

// always are the members and parameters of every bulk request.
var always = []string{"change_id", "reason", "dry_run"}

func (k bulkKind) entryNames() []string { return append([]string{"pv"}, k.entry...) }

func (k bulkKind) bodyNames() []string {
	names := append(k.entryNames(), "pvs")
	if k.globs {
		names = append(names, "glob")
	}
	return append(append(names, k.options...), always...)
}

func (k bulkKind) parameterNames() []string {
	names := slices.Clone(always)
	if k.globs {
		names = append(names, "glob")
	}
	return slices.DeleteFunc(append(append(names, k.options...), columnsOf(k)...), func(name string) bool { return name == "alias" })
}

// bulk is a request as it was read.
type bulk struct {
	kind bulkKind
	bulkBody
	entries []bulkEntry
	single  bool // an object about one PV: its failure is the answer
}

// readBulk reads the PVs of a request: a JSON object or list, one name a line,
// or CSV with a header.
func readBulk(r *http.Request, kind bulkKind) (*bulk, error) {
	b := &bulk{kind: kind}
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	return b, b.read(mediaType(r), body)
}

// readParameters takes the parameters of the URL, which stand for members of
// the body.
func (b *bulk) readParameters(r *http.Request) error {
	values, err := parameters(r, b.kind.parameterNames()...)
	if err != nil {
		return err
	}
	for name := range values {
		if err := b.parameter(name, values.Get(name)); err != nil {
			return err
		}
	}
	for i := range b.entries {
		b.entries[i] = b.entries[i].or(b.bulkEntry)
	}
	if len(b.entries) == 0 && b.Glob == "" {
		return refuse(schema.Invalid, `send {"pvs":["A","B"]}, a list, one name a line (text/plain), or CSV (text/csv)`, "the request names no PV")
	}
	return nil
}

// or fills what an entry does not state from what is said for all.
func (e bulkEntry) or(all bulkEntry) bulkEntry {
	e.settingsEdit = e.settingsEdit.or(all.settingsEdit)
	fill(&e.TimeLimit, all.TimeLimit)
	fill(&e.SkipAliasCheck, all.SkipAliasCheck)
	return e
}

func (b *bulk) read(media string, body []byte) error {
	switch {
	case len(body) == 0:
		return nil
	case media == "text/csv":
		return b.readCSV(body)
	case media == "text/plain":
		b.readNames(string(body))
		return nil
	case media != "" && media != "application/json":
		return unreadable(media, "application/json", "text/plain", "text/csv")
	case body[0] == '[':
		var items []json.RawMessage
		if err := json.Unmarshal(body, &items); err != nil {
			return wrongJSON(err)
		}
		return b.readItems(items)
	}
	if err := members(body, &b.bulkBody, b.kind.bodyNames()...); err != nil {
		return err
	}
	if b.PV != "" {
		b.single = len(b.PVs) == 0 && b.Glob == "" && !(b.kind.globs && isGlob(b.PV))
		b.entries = append(b.entries, b.bulkEntry)
		b.Alias = ""
	}
	return b.readItems(b.PVs)
}

func (b *bulk) readItems(items []json.RawMessage) error {
	for i, item := range items {
		var e bulkEntry
		var err error
		if bytes.HasPrefix(item, []byte(`"`)) {
			err = json.Unmarshal(item, &e.PV)
		} else {
			err = members(item, &e, b.kind.entryNames()...)
		}
		if err != nil {
			return wrongEntry(fmt.Sprintf("entry %d", i+1), err)
		}
		b.entries = append(b.entries, e)
	}
	return nil
}

// wrongEntry says where in the request something is wrong.
func wrongEntry(where string, err error) error {
	if ref, ok := err.(*refusal); ok {
		return &refusal{err: schema.Errorf(schema.CodeOf(err), "%s: %v", where, err), hint: ref.hint, status: ref.status}
	}
	return wrongJSON(fmt.Errorf("%s: %w", where, err))
}

// readNames reads names separated by line breaks, white space or commas.
func (b *bulk) readNames(text string) {
	for line := range strings.Lines(text) {
		for field := range strings.FieldsSeq(line) {
			if strings.HasPrefix(field, "#") { // within a name it is a letter like others
				break
			}
			for _, name := range splitNames(field) {
				b.entries = append(b.entries, bulkEntry{PV: name})
			}
		}
	}
}

// parameter takes what the URL says; the body goes first.
func (b *bulk) parameter(name, text string) (err error) {
	switch name {
	case "change_id":
		b.ChangeID = or(b.ChangeID, text)
	case "reason":
		b.Reason = or(b.Reason, text)
	case "glob":
		b.Glob = or(b.Glob, text)
	case "dry_run":
		return flag(name, text, &b.DryRun)
	case "data":
		return flag(name, text, &b.Data)
	default:
		var e bulkEntry
		if err := e.column(name, text); err != nil {
			return err
		}
		b.bulkEntry = b.bulkEntry.or(e)
	}
	return nil
}

// flag reads a parameter that is true or false; true anywhere in the request
// is true.
func flag(name, text string, to *bool) error {
	v, err := strconv.ParseBool(text)
	if err != nil {
		return refuse(schema.Invalid, "use "+name+"=true or "+name+"=false", "%s=%q is neither true nor false", name, text)
	}
	*to = *to || v
	return nil
}
