package policy_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"pvlog/ingest/policy"
	"pvlog/schema"
)

func parse(t *testing.T, name, text string) *policy.Policies {
	t.Helper()
	p, err := policy.Parse(name, []byte(text))
	if err != nil {
		t.Fatalf("parse %s: %v", name, err)
	}
	return p
}

func determine(t *testing.T, p *policy.Policies, pv policy.PV) (policy.Decision, bool) {
	t.Helper()
	d, matched, err := p.Determine(pv)
	if err != nil {
		t.Fatalf("determine %s: %v", pv.Name, err)
	}
	return d, matched
}

// connected is a scalar of a record type whose rate was measured.
func connected(name, rtyp string, rate float64) policy.PV {
	return policy.PV{
		Name: schema.PVName(name), Type: schema.ScalarDouble, Count: 1, Connected: true,
		EventRate: rate, StorageRate: 20 * rate, EventCount: uint64(60 * rate), RateKnown: true,
		Fields: map[string]string{"RTYP": rtyp, "MDEL": "0.5", "ADEL": "0", "SCAN": "1 second"},
	}
}

const siteRules = `
- name: never
  glob: ["TEST:*", "*:HEARTBEAT?"]
  method: DONT_ARCHIVE
- name: gated
  pv: LINAC:GUN.VAL
  method: SCAN
  period: 10s
  controlling_pv: LINAC:ON
- name: bpm
  description: beam positions
  regex: BPM\d+:[XY]
  count_below: 2
  method: MONITOR
  deadband: 0.01
  stores: [STS, "pb://localhost?name=LTS&rootFolder=${LTS}&partitionGranularity=PARTITION_YEAR"]
- name: motors
  rtyp: motor
  fields: [RBV, HIHI, DRVH, VAL, RBV, DESC]
- name: fast
  rate_above: 100
  method: SCAN
  period: 100ms
- name: waves
  type: [WAVEFORM_DOUBLE, dbr_waveform_float]
  count_above: 1000
  method: SCAN_GET
  period: 1m
- name: slow
  asked: [vacuum, cryo]
  method: SCAN
  period: 1m
- name: courtesy
  glob: CRT:*
  rate_below: 1
  method: SCAN
  period: 2s
  overrides: false
`

func TestFirstRuleThatMatchesDecides(t *testing.T) {
	p := parse(t, "site.yaml", siteRules)
	wave := connected("CAM:IMAGE", "waveform", 1)
	wave.Type, wave.Count = schema.WaveformFloat, 2000
	wide := connected("BPM1:X", "waveform", 1)
	wide.Type, wide.Count = schema.WaveformDouble, 500
	asked := connected("V:1", "ai", 1)
	asked.Policy = "cryo"
	askedMotor := connected("V:1", "ai", 1)
	askedMotor.Policy = "motors"
	askedBPM := connected("V:1", "ai", 500)
	askedBPM.Policy = "bpm"
	both := []string{"STS", "pb://localhost?name=LTS&rootFolder=${LTS}&partitionGranularity=PARTITION_YEAR"}
	for name, c := range map[string]struct {
		pv   policy.PV
		want policy.Decision
		why  string
	}{
		"glob":                         {connected("TEST:A:B", "ai", 1), policy.Decision{Policy: "never", DontArchive: true, Overrides: true}, "site.yaml:2: rule 1, never: matches by glob"},
		"glob, second of the list":     {connected("A:HEARTBEAT1", "ai", 1), policy.Decision{Policy: "never", DontArchive: true, Overrides: true}, "rule 1"},
		"exact, .VAL is the same":      {connected("LINAC:GUN", "ai", 1), policy.Decision{Policy: "gated", Method: schema.Scan, Period: 10 * time.Second, ControllingPV: "LINAC:ON", Overrides: true}, "site.yaml:5: rule 2"},
		"regex and count":              {connected("BPM12:X", "ai", 1), policy.Decision{Policy: "bpm", Method: schema.Monitor, Deadband: 0.01, Stores: both, Overrides: true}, "matches by regex, count_below"},
		"regex must match all":         {connected("BPM12:XX", "motor", 1), policy.Decision{Policy: "motors", ArchiveFields: []string{"DRVH", "HIHI"}, ExtraPVs: []schema.PVName{"BPM12:XX.DESC", "BPM12:XX.RBV"}, Overrides: true}, "matches by rtyp motor"},
		"a field PV has no fields":     {connected("M:1.RBV", "motor", 1), policy.Decision{Policy: "motors", Overrides: true}, "rule 4"},
		"rate":                         {connected("V:1", "ai", 100.5), policy.Decision{Policy: "fast", Method: schema.Scan, Period: 100 * time.Millisecond, Overrides: true}, "rate_above"},
		"a condition fails, a later":   {wide, policy.Decision{Why: "no rule"}, "no rule of the policy file matches"},
		"type and count":               {wave, policy.Decision{Policy: "waves", Method: "SCAN_GET", Period: time.Minute, Overrides: true}, "type, count_above"},
		"asked":                        {asked, policy.Decision{Policy: "slow", Method: schema.Scan, Period: time.Minute, Overrides: true}, "matches by asked"},
		"asked by name, rtyp differs":  {askedMotor, policy.Decision{Policy: "motors", Overrides: true}, `none of its rules is for rtyp "ai"`},
		"asked by name, chooses":       {askedBPM, policy.Decision{Policy: "bpm", Method: schema.Monitor, Deadband: 0.01, Stores: both, Overrides: true}, "asked for by name"},
		"limit of the rate is outside": {connected("V:1", "ai", 100), policy.Decision{}, "no rule"},
		"user's own sampling wins":     {connected("CRT:1", "ai", 0.5), policy.Decision{Policy: "courtesy", Method: schema.Scan, Period: 2 * time.Second}, "rule 8"},
	} {
		t.Run(name, func(t *testing.T) {
			got, matched := determine(t, p, c.pv)
			if !strings.Contains(got.Why, c.why) {
				t.Errorf("why: %q, want %q in it", got.Why, c.why)
			}
			got.Why, c.want.Why = "", ""
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
			if matched != (c.want.Policy != "") {
				t.Errorf("matched: %v", matched)
			}
		})
	}
}

// What a connection or a rate could contradict is not decided before.
func TestDecisionWaitsForWhatItDependsOn(t *testing.T) {
	p := parse(t, "site.yaml", siteRules)
	for name, c := range map[string]struct {
		pv     policy.PV
		policy string
		why    string // of a decision that waits
	}{
		"an earlier rule matches by name":  {policy.PV{Name: "TEST:A"}, "never", ""},
		"a rule needs count":               {policy.PV{Name: "BPM1:X"}, "", "site.yaml:10: rule 3, bpm: count_below is not known yet"},
		"name fails, the next needs rtyp":  {policy.PV{Name: "V:1"}, "", "rule 4, motors: rtyp is not known yet"},
		"connected, rate still unknown":    {policy.PV{Name: "V:1", Type: schema.ScalarDouble, Count: 1, Connected: true}, "", "rule 5, fast: rate_above is not known yet"},
		"connected, decided before rate":   {policy.PV{Name: "V:1", Connected: true, Fields: map[string]string{"RTYP": "motor"}}, "motors", ""},
		"asked by name, rtyp chooses":      {policy.PV{Name: "V:1", Policy: "motors"}, "", "rule 4, motors: rtyp is not known yet"},
		"asked by name, nothing to choose": {policy.PV{Name: "V:1", Policy: "fast"}, "fast", ""},
	} {
		t.Run(name, func(t *testing.T) {
			d, matched := determine(t, p, c.pv)
			if matched != (c.why == "") || d.Later != (c.why != "") || d.Policy != c.policy || !strings.Contains(d.Why, c.why) {
				t.Errorf("matched %v: %+v; want policy %q, why %q", matched, d, c.policy, c.why)
			}
		})
	}
}

func TestUnknownPolicyNameIsAnErrorThatListsTheNames(t *testing.T) {
	for file, text := range map[string]string{"site.yaml": siteRules} {
		p := parse(t, file, text)
		_, _, err := p.Determine(policy.PV{Name: "A:B", Policy: "bmp"})
		if schema.CodeOf(err) != schema.Invalid || !strings.Contains(err.Error(), `PV A:B: `+file+` has no policy "bmp"; it has `) {
			t.Errorf("%s: %v", file, err)
		}
		for _, n := range p.List() {
			if !strings.Contains(err.Error(), n.Name) {
				t.Errorf("%s: %v does not name %s", file, err, n.Name)
			}
		}
	}
}

func TestListGivesNamesInTheOrderOfTheRules(t *testing.T) {
	want := []policy.Named{{"never", ""}, {"gated", ""}, {"bpm", "beam positions"}, {"motors", ""}, {"fast", ""}, {"waves", ""}, {"slow", ""}, {"vacuum", ""}, {"cryo", ""}, {"courtesy", ""}}
	if got := parse(t, "site.yaml", siteRules).List(); !reflect.DeepEqual(got, want) {
		t.Errorf("list: %v, want %v", got, want)
	}
}

func TestRulesThatMakeNoSenseNameTheirPlace(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":         {"- name: a\n  rate: 3\n", "p.yaml:2:3: unknown field \"rate\""},
		"not YAML":            {"- name: [a\n", "p.yaml:"},
		"no name":             {"- method: SCAN\n", "p.yaml:1:9: rule 1: policy name \"\""},
		"method":              {"- name: a\n- name: b\n  method: SLOW\n", "p.yaml:3:11: rule 2: method \"SLOW\": use MONITOR"},
		"period without unit": {"- name: a\n  period: 5\n", "p.yaml:2:11: rule 1: period \"5\""},
		"negative period":     {"- name: a\n  period: -5s\n", "period"},
		"regex":               {"- name: a\n  regex: 'BPM(['\n", "p.yaml:2:10: rule 1: error parsing regexp"},
		"regex of two halves": {"- name: a\n  regex: 'a)|(b'\n", "p.yaml:2:10: rule 1: error parsing regexp"},
		"type":                {"- name: a\n  type: [DOUBLE]\n", "rule 1: \"DOUBLE\" is no DBR type"},
		"negative rate":       {"- name: a\n  rate_above: -1\n", "p.yaml:2:15: rule 1: a rate is 0 or more"},
		"rate that is NaN":    {"- name: a\n  rate_below: .nan\n", "a rate is 0 or more"},
		"rate that is text":   {"- name: a\n  rate_below: fast\n", "p.yaml:2:15: "},
		"endless deadband":    {"- name: a\n  deadband: .inf\n", "a deadband is 0 or more"},
		"field":               {"- name: a\n  fields: ['HI HI']\n", "archive field \"HI HI\""},
		"store":               {"- name: a\n  stores: ['']\n", "rule 1: store \"\""},
		"controlling PV":      {"- name: a\n  controlling_pv: 'A B'\n", "p.yaml:2:19: rule 1: PV \"A B\""},
		"pv":                  {"- name: a\n  pv: '..'\n", "rule 1: PV"},
		"empty list":          {"- name: a\n  rtyp: []\n", "an empty list would never match"},
		"two meanings":        {"- name: a\n  period: 1s\n- name: a\n  period: 2s\n", "p.yaml:4:11: rule 2: policy \"a\" has another period in rule 1"},
		"two documents":       {"- name: a\n---\n- name: b\n", "2 YAML documents"},
		"anchors":             {"- &x\n  name: a\n- *x\n", "p.yaml:1: anchors"},
		"tags":                {"- name: !!str\n", "p.yaml:1: anchors, aliases and tags"},
		"damaged":             {"YYY x: !\xfe L:$\n> -", "p.yaml:"},
		"brackets":            {strings.Repeat("[", 5000), "nested more than 100 deep"},
		"stream field":        {"stream_fields: ['1']\nrules: [{name: a}]\n", "archive field \"1\""},
		"empty":               {"# nothing\n", "p.yaml: it has no rules"},
		"a text":              {"hello", "p.yaml:"},
		"too large":           {strings.Repeat("#", 1<<20+1), "a policy file has at most"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := policy.Parse("p.yaml", []byte(c.text))
			if schema.CodeOf(err) != schema.Invalid || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error: %v\nwant %q in it", err, c.want)
			}
		})
	}
}

func TestRulesFileMayNameItsOwnStreamFields(t *testing.T) {
	p := parse(t, "site.yml", "stream_fields: [RBV, HIHI, RBV]\nrules:\n- name: a\n  fields: [RBV, LOLO]\n")
	if got := p.StreamFields(); !reflect.DeepEqual(got, []string{"HIHI", "RBV"}) {
		t.Errorf("stream fields: %v", got)
	}
	d, _ := determine(t, p, connected("M:1", "motor", 1))
	if !reflect.DeepEqual(d.ArchiveFields, []string{"RBV"}) || !reflect.DeepEqual(d.ExtraPVs, []schema.PVName{"M:1.LOLO"}) || !strings.HasPrefix(d.Why, "site.yml:3: rule 1, a") {
		t.Errorf("decision: %+v", d)
	}
}

// The Appliance's own file (3.10): fields by record type, sampling as asked.
func TestDefaultGivesFieldsByRecordType(t *testing.T) {
	p, err := policy.Default()
	if err != nil {
		t.Fatal(err)
	}
	limits := []string{"HIGH", "HIHI", "HOPR", "LOLO", "LOPR", "LOW"}
	drive := []string{"DRVH", "DRVL", "HIGH", "HIHI", "HOPR", "LOLO", "LOPR", "LOW"}
	for rtyp, want := range map[string][]string{
		"ai": limits, "calc": limits, "calcout": limits, "longin": limits, "dfanout": limits, "sub": limits,
		"ao": drive, "longout": drive, "bi": nil, "": nil,
	} {
		d, matched := determine(t, p, connected("A:B", rtyp, 1))
		if !matched || d.Policy != "Default" || d.Method != schema.Monitor || d.Period != time.Second || d.Overrides || d.Stores != nil || d.ExtraPVs != nil || !reflect.DeepEqual(d.ArchiveFields, want) {
			t.Errorf("rtyp %q: %+v, want fields %v", rtyp, d, want)
		}
	}
	if d, matched := determine(t, p, policy.PV{Name: "A:B"}); matched || !d.Later {
		t.Errorf("before the connection: %v %+v", matched, d)
	}
	if p.NeedsRate() || !reflect.DeepEqual(p.StreamFields(), drive) || !strings.HasPrefix(string(p.Text()), "# pvlog's policies") {
		t.Errorf("needs rate %v, stream fields %v", p.NeedsRate(), p.StreamFields())
	}
	if !parse(t, "site.yaml", siteRules).NeedsRate() {
		t.Error("rules with a rate need none")
	}
}
