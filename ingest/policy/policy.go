package policy

import (
	"bytes"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"pvlog/schema"
)

// Methods beside [schema.Monitor] and [schema.Scan] that a file can give.
const (
	scanGet     schema.SamplingMethod = "SCAN_GET"     // a get per period, stamped by the archiver (seed row S46)
	dontArchive schema.SamplingMethod = "DONT_ARCHIVE" // told by Decision.DontArchive
)

// maxText bounds a policy file, in bytes; sites' files have a few thousand.
const maxText = 1 << 20

// PV is what is known of a PV when its policy is determined.
type PV struct {
	Name  schema.PVName
	Type  schema.DBRType // UnknownType until it connected
	Count int            // elements of the native channel

	EventRate   float64 // per second
	StorageRate float64 // bytes per second
	EventCount  uint64
	RateKnown   bool // false: the three above were not measured yet

	Fields        map[string]string // RTYP, MDEL, ADEL, SCAN: those that the server has
	Alias         schema.PVName     // the record's own NAME, where it differs
	Policy        string            // that the user asked for by name, "" for none
	ControllingPV schema.PVName

	// Connected false: only the name and what the user asked for are known.
	// True: type, count and fields are, and a missing RTYP is none at all.
	Connected bool
}

// Decision is what a policy says of a PV.
type Decision struct {
	Policy        string                // stable name, stored with the PV (seed row S15)
	Method        schema.SamplingMethod // MONITOR, SCAN or SCAN_GET; "": leave as asked
	Period        time.Duration         // 0: leave as asked
	Stores        []string              // plugin URLs or names of stores; nil: the configured stores
	ArchiveFields []string              // sorted, those of StreamFields only
	ExtraPVs      []schema.PVName       // fields outside StreamFields: PVs of their own, sorted (Appliance 3.5)
	Deadband      float64               // 0: none
	ControllingPV schema.PVName
	DontArchive   bool
	Overrides     bool     // method and period replace what the user asked for (S14: YAML; a policies.py fills in what was not asked, as the Appliance)
	Later         bool     // not matched yet: ask again when the PV has connected or its rate is known
	Why           string   // for people: which rule of which file and line decided
	Notes         []string // what a policies.py printed or logged as a warning
}

// Named is a policy that a user may ask for.
type Named struct {
	Name, Description string
}

// Policies is one file's policies. It never changes and may be used by any
// number of goroutines.
type Policies struct {
	name   string // of the file, for messages
	text   []byte
	listed []Named
	stream []string
	from   decider

	warnings []string
}

// decider is one kind of policy file, after the checks that both kinds share.
type decider interface {
	determine(pv PV) (Decision, bool, error)
	needsRate() bool
}

// Env answers os.environ of a policies.py, as [os.LookupEnv] does. Where it is
// nil, os.environ["NAME"] is the macro ${NAME}, which is resolved when the
// store is opened, and os.environ.get("NAME", default) is the default.
type Env func(name string) (value string, set bool)

// Parse reads a policy file: Starlark (policies.py) when name ends in ".py" or
// the text defines determinePolicy, else YAML rules. name is used in messages.
// An error is a [schema.Error] with code Invalid that names file, line and
// column where there is one.
func Parse(name string, text []byte) (*Policies, error) {
	return ParseWith(name, text, nil)
}

// ParseWith is Parse for a file that may know the environment.
func ParseWith(name string, text []byte, env Env) (*Policies, error) {
	if len(text) > maxText {
		return nil, schema.Errorf(schema.Invalid, "%s: %d bytes; a policy file has at most %d", name, len(text), maxText)
	}
	p := &Policies{name: filepath.Base(name), text: slices.Clone(text)}
	if isPython(name, text) {
		return p.readPython(env)
	}
	return p.readRules()
}

var definesPolicy = regexp.MustCompile(`(?m)^def[ \t]+determinePolicy[ \t]*\(`)

func isPython(name string, text []byte) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".py":
		return true
	case ".yaml", ".yml", ".json":
		return false
	}
	return definesPolicy.Match(text)
}

// Determine gives the decision for a PV. matched is false when no rule speaks
// of the PV, so that it is archived as asked, and when it is too early to say
// (Decision.Later): a rule that asks for a type, a record type or a rate could
// still match before the one that matches now, or the file is a policies.py,
// which is not asked about PVs that have not connected, since most of its
// inputs would be invented. An unknown policy name, and whatever goes wrong
// inside a policies.py, is a [schema.Error] with code Invalid.
func (p *Policies) Determine(pv PV) (d Decision, matched bool, err error) {
	if pv.Policy != "" && !p.has(pv.Policy) {
		return Decision{}, false, schema.Errorf(schema.Invalid, "PV %s: %s has no policy %q; %s", pv.Name, p.name, pv.Policy, p.names())
	}
	return p.from.determine(pv)
}

// NeedsRate reports whether a decision may change once the event rate is
// known: a rule asks for it, or the file is a policies.py.
func (p *Policies) NeedsRate() bool { return p.from.needsRate() }

// List gives the policies that a user may ask for: in the order of the rules,
// or sorted by name for a policies.py.
func (p *Policies) List() []Named { return slices.Clone(p.listed) }

// StreamFields gives the fields that are archived within the stream of their
// PV, sorted (Appliance: getFieldsArchivedAsPartOfStream).
func (p *Policies) StreamFields() []string { return slices.Clone(p.stream) }

// Text gives the file as it was read.
func (p *Policies) Text() []byte { return bytes.Clone(p.text) }

// Warnings gives what is wrong with the file and yet lets it decide, with file,
// line and column: names that a policies.py uses and nowhere defines.
func (p *Policies) Warnings() []string { return slices.Clone(p.warnings) }

// Name is the file's name without its folder.
func (p *Policies) Name() string { return p.name }

func (p *Policies) has(name string) bool {
	return slices.ContainsFunc(p.listed, func(n Named) bool { return n.Name == name })
}

// names is for messages: as many names as a line holds.
func (p *Policies) names() string {
	if len(p.listed) == 0 {
		return "it has no policies that can be asked for by name"
	}
	var names []string
	for i, n := range p.listed {
		if i == 50 {
			names = append(names, "...")
			break
		}
		names = append(names, n.Name)
	}
	return "it has " + strings.Join(names, ", ")
}
