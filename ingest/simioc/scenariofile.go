package simioc

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// The keys of a scenario file; SCENARIO.md beside this file says what they
// mean. Times are text with a unit ("5s"), severities their EPICS names.
type (
	scenarioFile struct {
		IOCs  []iocFile  `yaml:"iocs"`
		Steps []stepFile `yaml:"steps"`
	}
	iocFile struct {
		Name    string       `yaml:"name"`
		Listen  string       `yaml:"listen"`
		Prefix  string       `yaml:"prefix"`
		Beacons []string     `yaml:"beacons"`
		Minor   uint16       `yaml:"minor"`
		Access  string       `yaml:"access"`
		Records []recordFile `yaml:"records"`
	}
	recordFile struct {
		Name      string        `yaml:"name"`
		Aliases   []string      `yaml:"aliases"`
		Type      string        `yaml:"type"`
		Count     int           `yaml:"count"`
		RTYP      string        `yaml:"rtyp"`
		Rate      float64       `yaml:"rate"`
		Value     any           `yaml:"value"`
		Generate  *generateFile `yaml:"generate"`
		Desc      string        `yaml:"desc"`
		Units     string        `yaml:"units"`
		Precision int           `yaml:"precision"`
		Limits    *limitsFile   `yaml:"limits"`
		Labels    []string      `yaml:"labels"`
		States    []string      `yaml:"states"`
		MDEL      float64       `yaml:"mdel"`
		ADEL      float64       `yaml:"adel"`
		Alarm     *alarmFile    `yaml:"alarm"`
		Access    string        `yaml:"access"`
		Time      *timeFile     `yaml:"time"`
		Process   string        `yaml:"process"`
	}
	generateFile struct {
		Kind   string   `yaml:"kind"`
		Low    *float64 `yaml:"low"`
		High   *float64 `yaml:"high"`
		Period string   `yaml:"period"`
		Values []any    `yaml:"values"`
	}
	limitsFile struct {
		LOPR float64  `yaml:"lopr"`
		HOPR float64  `yaml:"hopr"`
		LOLO *float64 `yaml:"lolo"`
		LOW  *float64 `yaml:"low"`
		HIGH *float64 `yaml:"high"`
		HIHI *float64 `yaml:"hihi"`
		LLSV string   `yaml:"llsv"`
		LSV  string   `yaml:"lsv"`
		HSV  string   `yaml:"hsv"`
		HHSV string   `yaml:"hhsv"`
	}
	alarmFile struct {
		Record   string `yaml:"record"`
		Severity string `yaml:"severity"`
		Status   string `yaml:"status"`
		Clear    bool   `yaml:"clear"`
	}
	timeFile struct {
		Record    string `yaml:"record"`
		Normal    bool   `yaml:"normal"`
		Skew      string `yaml:"skew"`
		Frozen    bool   `yaml:"frozen"`
		Backwards string `yaml:"backwards"`
		Epoch1990 bool   `yaml:"epoch1990"`
		Absolute  string `yaml:"absolute"`
	}
	stepFile struct {
		At    string `yaml:"at"`
		Every string `yaml:"every"`
		Times int    `yaml:"times"`
		IOC   string `yaml:"ioc"`

		Put              *putFile      `yaml:"put"`
		Alarm            *alarmFile    `yaml:"alarm"`
		Time             *timeFile     `yaml:"time"`
		Change           *changeFile   `yaml:"change"`
		Metadata         *metadataFile `yaml:"metadata"`
		Access           *accessFile   `yaml:"access"`
		Disconnect       bool          `yaml:"disconnect"`
		ServerDisconnect string        `yaml:"server_disconnect"`
		Silence          string        `yaml:"silence"`
		Slow             *slowFile     `yaml:"slow"`
		Wedge            string        `yaml:"wedge"`
		Mute             *muteFile     `yaml:"mute"`
		Beacons          bool          `yaml:"beacons"`
		Restart          string        `yaml:"restart"`
		Stop             bool          `yaml:"stop"`
	}
	putFile struct {
		Record   string `yaml:"record"`
		Value    any    `yaml:"value"`
		Severity string `yaml:"severity"`
		Status   string `yaml:"status"`
		Time     string `yaml:"time"`
		Nanos    uint32 `yaml:"nanos"`
	}
	changeFile struct {
		Record string `yaml:"record"`
		Type   string `yaml:"type"`
		Count  int    `yaml:"count"`
		Value  any    `yaml:"value"`

		Generate *generateFile `yaml:"generate"`
	}
	metadataFile struct {
		Record    string      `yaml:"record"`
		Desc      *string     `yaml:"desc"`
		Units     *string     `yaml:"units"`
		Precision *int        `yaml:"precision"`
		Limits    *limitsFile `yaml:"limits"`
		Labels    []string    `yaml:"labels"`
		MDEL      *float64    `yaml:"mdel"`
		ADEL      *float64    `yaml:"adel"`
	}
	accessFile struct {
		Record string `yaml:"record"`
		Rights string `yaml:"rights"`
	}
	slowFile struct {
		BytesPerSecond int    `yaml:"bytes_per_second"`
		For            string `yaml:"for"`
	}
	muteFile struct {
		Record string `yaml:"record"`
		For    string `yaml:"for"`
		Later  bool   `yaml:"later"`
	}
)

// fault is what is wrong with the key at a path ("iocs[0].name").
type fault struct {
	path string
	err  error
}

func (f *fault) Error() string { return f.path + ": " + f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

func wrong(path, format string, args ...any) error {
	return &fault{path: path, err: fmt.Errorf(format, args...)}
}

// parseScenario reads the text. Anchors are refused: they would let a small
// file become a large one.
func parseScenario(data []byte) (*scenarioFile, *ast.File, error) {
	parsed, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, nil, yamlError(err)
	}
	var anchors anchorFinder
	for _, doc := range parsed.Docs {
		ast.Walk(&anchors, doc)
	}
	if anchors.line != 0 {
		return nil, nil, fmt.Errorf("scenario line %d: anchors and aliases (& and *) are not read: write the values out", anchors.line)
	}
	if len(parsed.Docs) != 1 {
		return nil, nil, fmt.Errorf("scenario: it has %d YAML documents, one is needed", len(parsed.Docs))
	}
	var f scenarioFile
	if err := yaml.UnmarshalWithOptions(data, &f, yaml.Strict()); err != nil {
		return nil, nil, yamlError(err)
	}
	return &f, parsed, nil
}

func yamlError(err error) error {
	return fmt.Errorf("scenario: %s", strings.TrimSpace(yaml.FormatError(err, false, true)))
}

type anchorFinder struct{ line int }

// Visit notes the first anchor or alias.
func (a *anchorFinder) Visit(node ast.Node) ast.Visitor {
	switch node.(type) {
	case *ast.AnchorNode, *ast.AliasNode:
		if a.line == 0 {
			a.line = node.GetToken().Position.Line
		}
	}
	return a
}

// located adds the line to a fault: that of its key, or of the nearest key
// above that is in the file.
func located(err error, parsed *ast.File) error {
	var f *fault
	if !errors.As(err, &f) {
		return fmt.Errorf("scenario: %w", err)
	}
	for path := f.path; path != ""; path = path[:max(strings.LastIndexAny(path, ".["), 0)] {
		p, err := yaml.PathString("$." + path)
		if err != nil {
			continue
		}
		if node, err := p.FilterFile(parsed); err == nil && node != nil && node.GetToken() != nil {
			return fmt.Errorf("scenario line %d: %w", node.GetToken().Position.Line, f)
		}
	}
	return fmt.Errorf("scenario: %w", f)
}
