package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"pvlog/schema"
)

// maxDepth bounds brackets within brackets, in both kinds of file: their
// parsers recurse.
const maxDepth = 100

// words is one value or a list of them.
type words []string

// UnmarshalYAML reads either form.
func (w *words) UnmarshalYAML(unmarshal func(any) error) error {
	var one string
	if unmarshal(&one) == nil {
		*w = words{one}
		return nil
	}
	var many []string
	if err := unmarshal(&many); err != nil {
		return err
	}
	if len(many) == 0 {
		return fmt.Errorf("an empty list would never match: name at least one, or leave the key out")
	}
	*w = many
	return nil
}

// ruleFile is a rule as it stands in the file; default.yaml says what its keys
// mean.
type ruleFile struct {
	PV         words    `yaml:"pv"`
	Glob       words    `yaml:"glob"`
	Regex      words    `yaml:"regex"`
	RTYP       words    `yaml:"rtyp"`
	Type       words    `yaml:"type"`
	RateAbove  *float64 `yaml:"rate_above"`
	RateBelow  *float64 `yaml:"rate_below"`
	CountAbove *int     `yaml:"count_above"`
	CountBelow *int     `yaml:"count_below"`
	Asked      words    `yaml:"asked"`

	Name          string   `yaml:"name"`
	Description   string   `yaml:"description"`
	Method        string   `yaml:"method"`
	Period        string   `yaml:"period"`
	Fields        []string `yaml:"fields"`
	Stores        words    `yaml:"stores"`
	Deadband      float64  `yaml:"deadband"`
	ControllingPV string   `yaml:"controlling_pv"`
	Overrides     *bool    `yaml:"overrides"`
}

// rulesFile is a file that is more than the list of rules.
type rulesFile struct {
	StreamFields []string   `yaml:"stream_fields"`
	Rules        []ruleFile `yaml:"rules"`
}

// decodeRules reads the text. prefix is the path of the list of rules in root.
func decodeRules(name string, text []byte) (f rulesFile, root *ast.File, prefix string, err error) {
	if at, deep := tooDeep(text); deep {
		return f, nil, "", schema.Errorf(schema.Invalid, "%s:%d: brackets are nested more than %d deep", name, at, maxDepth)
	}
	defer func() {
		// the YAML package panics on some texts that are no YAML; an editor's
		// slip must not end a running archiver
		if p := recover(); p != nil {
			err = schema.Errorf(schema.Invalid, "%s: it is no YAML that can be read (%v)", name, p)
		}
	}()
	root, err = parser.ParseBytes(text, 0)
	if err != nil {
		return f, nil, "", yamlError(name, err)
	}
	if err := plain(name, root); err != nil {
		return f, nil, "", err
	}
	if len(root.Docs) == 1 && isMapping(root.Docs[0].Body) {
		prefix = ".rules"
		err = yaml.UnmarshalWithOptions(text, &f, yaml.Strict())
	} else {
		err = yaml.UnmarshalWithOptions(text, &f.Rules, yaml.Strict())
	}
	if err != nil {
		return f, nil, "", yamlError(name, err)
	}
	return f, root, prefix, nil
}

// plain refuses more than one document, and what makes values of other values:
// anchors would let a small file become a large one, and tags mean nothing.
func plain(name string, root *ast.File) error {
	var found finder
	for _, doc := range root.Docs {
		if doc.Body != nil {
			ast.Walk(&found, doc)
		}
	}
	if found.line != 0 {
		return schema.Errorf(schema.Invalid, "%s:%d: anchors, aliases and tags are not read: write the values out, in quotes where they begin with * & or !", name, found.line)
	}
	if len(root.Docs) > 1 {
		return schema.Errorf(schema.Invalid, "%s: it has %d YAML documents, one is needed", name, len(root.Docs))
	}
	return nil
}

func isMapping(node ast.Node) bool {
	switch node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return true
	}
	return false
}

// tooDeep gives the line where brackets or indented lists nest too deep for
// recursion. It counts brackets within strings too, which no real file needs
// a hundred of.
func tooDeep(text []byte) (line int, deep bool) {
	line, depth, dashes := 1, 0, 0
	for _, c := range text {
		switch c {
		case '\n':
			line, dashes = line+1, 0
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(depth-1, 0)
		case '-', '?', ':', '!':
			dashes++
		}
		if depth > maxDepth || dashes > 20*maxDepth {
			return line, true
		}
	}
	return 0, false
}

func yamlError(name string, err error) error {
	text := strings.TrimSpace(yaml.FormatError(err, false, true))
	if place, rest, ok := strings.Cut(text, "] "); ok && strings.HasPrefix(place, "[") {
		text = place[1:] + ": " + rest // "[3:5] what" as "file:3:5: what"
		return schema.Errorf(schema.Invalid, "%s:%s", name, text)
	}
	return schema.Errorf(schema.Invalid, "%s: %s", name, text)
}

// finder finds the first anchor, alias or tag.
type finder struct{ line int }

// Visit looks at one node.
func (f *finder) Visit(node ast.Node) ast.Visitor {
	switch node.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		if f.line == 0 {
			f.line = node.GetToken().Position.Line
		}
		return nil // a tag may hold nothing
	}
	return f
}

// place gives "line:column" of a path in the file, or of the nearest key above.
func place(root *ast.File, path string) string {
	for ; path != ""; path = path[:max(strings.LastIndexAny(path, ".["), 0)] {
		p, err := yaml.PathString("$" + path)
		if err != nil {
			continue
		}
		if node, err := p.FilterFile(root); err == nil && node != nil && node.GetToken() != nil {
			at := node.GetToken().Position
			return fmt.Sprintf("%d:%d", at.Line, at.Column)
		}
	}
	return "1:1"
}

// method and period of a rule; "" and 0 where they are left out.
func (f *ruleFile) sampling() (m schema.SamplingMethod, period time.Duration, key string, err error) {
	switch m = schema.SamplingMethod(strings.ToUpper(f.Method)); m {
	case "", schema.Monitor, schema.Scan, scanGet, dontArchive:
	default:
		return "", 0, "method", fmt.Errorf("method %.40q: use MONITOR, SCAN, SCAN_GET or DONT_ARCHIVE", f.Method)
	}
	if f.Period == "" {
		return m, 0, "", nil
	}
	period, err = time.ParseDuration(f.Period)
	if err != nil || period <= 0 {
		return "", 0, "period", fmt.Errorf("period %.40q: write a time above 0 with its unit: 1s, 500ms, 1m", f.Period)
	}
	return m, period, "", nil
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}
