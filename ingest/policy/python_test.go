package policy_test

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"pvlog/ingest/policy"
	"pvlog/schema"
)

func TestSiteFileRunsAsItIs(t *testing.T) {
	p := parse(t, "policies.py", sitePython)
	if want := []policy.Named{{"BPMS", "Beam positions"}, {"Default", "The default policy"}, {"Slow", "Scanned each minute"}}; !reflect.DeepEqual(p.List(), want) {
		t.Errorf("list: %v, want %v", p.List(), want)
	}
	if want := []string{"DRVH", "DRVL", "HIGH", "HIHI", "HOPR", "LOLO", "LOPR", "LOW"}; !reflect.DeepEqual(p.StreamFields(), want) {
		t.Errorf("stream fields: %v", p.StreamFields())
	}
	stores := []string{"pb://localhost?name=STS&rootFolder=${ARCHAPPL_SHORT_TERM_FOLDER}&partitionGranularity=PARTITION_HOUR&hold=2", "pb://localhost?name=LTS&rootFolder=${ARCHAPPL_LONG_TERM_FOLDER}"}
	asked := connected("A:B", "ao", 1)
	asked.Policy = "Slow"
	for name, c := range map[string]struct {
		pv   policy.PV
		want policy.Decision
	}{
		"default, the last of two keys": {connected("A:B", "ai", 1), policy.Decision{Policy: "Default", Method: schema.Monitor, Period: time.Second, Stores: stores,
			ArchiveFields: []string{"HIGH", "HIHI", "LOLO", "LOW"}, ExtraPVs: []schema.PVName{"A:B.EGU"}, Why: "policies.py:34: determinePolicy chose Default"}},
		"asked": {asked, policy.Decision{Policy: "Slow", Method: schema.Scan, Period: time.Minute, Stores: stores,
			ArchiveFields: []string{"DRVH", "DRVL", "HIGH", "HIHI", "LOLO", "LOW"}, Why: "policies.py:34: determinePolicy chose Slow"}},
		"by name, no fields of its type": {connected("SR:BPM12:X", "bi", 1), policy.Decision{Policy: "BPMS", Method: schema.Monitor, Period: 100 * time.Millisecond, Stores: stores,
			ControllingPV: "BEAM:ON", Why: "policies.py:34: determinePolicy chose BPMS"}},
		"not archived, with what it printed": {connected("A:Test:B", "motor", 1), policy.Decision{Policy: "Default", Period: time.Second, Stores: stores, DontArchive: true,
			ArchiveFields: []string{"HIHI"}, ExtraPVs: []schema.PVName{"A:Test:B.RBV"}, Notes: []string{"not archived: A:Test:B", "A:Test:B is not archived"},
			Why: "policies.py:34: determinePolicy chose Default"}},
		"a field PV": {connected("A:B.EGU", "ai", 1), policy.Decision{Policy: "Default", Method: schema.Monitor, Period: time.Second, Stores: stores, Why: "policies.py:34: determinePolicy chose Default"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, matched := determine(t, p, c.pv)
			if !matched || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

// python is a file whose determinePolicy has a body that sets name.
func python(top, body string) string {
	return top + `
def getPolicyList(): return {"Default": "d"}
def getFieldsArchivedAsPartOfStream(): return []
def determinePolicy(pvInfo):
    name = "none"
` + "    " + strings.ReplaceAll(body, "\n", "\n    ") + `
    return {"samplingPeriod": 1.0, "samplingMethod": "MONITOR", "dataStores": ["x"], "policyName": str(name)}
`
}

func TestPythonMeansTheSame(t *testing.T) {
	for name, c := range map[string]struct{ top, body, want string }{
		"integers divide as in Python 2": {"", "name = '%d %s' % (7/2, 7/2.0)", "3 3.5"},
		"division of the future":         {"from __future__ import division", "name = 7/2", "3.5"},
		"formats":                        {"", "name = '%-5s|%05.1f|%3d|%x|%%|%s|%e' % ('ab', 2.25, 7, 255, [1, 'a'], 12345.678)", `ab   |002.2|  7|ff|%|[1, "a"]|1.234568e+04`},
		"formats by key":                 {"", "name = '%(a)s-%(b)03d' % {'a': 1, 'b': 2}", "1-002"},
		"a set":                          {"", "name = len({1, 2, 2}), 3 in {1, 2}", "(2, False)"},
		"set of a generator":             {"", "name = sorted({len(x) for x in ['a', 'bb', 'c']})", "[1, 2]"},
		"generators":                     {"", "name = sum(x * 2 for x in [1, 2] if x > 1), all(c.isdigit() for c in 'a 1'.split())", "(4, False)"},
		"generator of joined strings":    {"", "name = '-'.join(x + 'c' for x in ('a' 'b', \"d\"))", "abc-dc"},
		"dict and list methods":          {"", "d = {'b': 1}\nd2 = d.copy()\nd2['a'] = 2\nl = sorted(d2.iteritems())\nl.reverse()\nl.sort(key=lambda p: p[1])\nname = (len(d), l, l.count(('a', 2)))", `(1, [("b", 1), ("a", 2)], 1)`},
		"del":                            {"", "d = {'a': 1, 'b': 2}\ndel d['a']\nname = d", `{"b": 2}`},
		"+= extends in place":            {"", "a = [1]\nb = a\na += [2]\ns = 'x'\ns += 'y'\nn = 7\nn /= 2\nn *= 5\nname = (b, s, n)", `([1, 2], "xy", 15)`},
		"is":                             {"", "x = None\nname = (x is None, x is not None, True is True)", "(True, False, True)"},
		"string methods":                 {"import string", "name = '7'.zfill(3) + 'a'.ljust(3) + '|' + string.upper('b') + string.join(['x', 'y'], '.')", "007a  |Bx.y"},
		"regular expressions":            {"import re\nP = re.compile(r'(?P<sys>\\w+):(\\w+)')", "m = P.match('SR:BPM1')\nname = (m.group('sys'), m.groups(), re.sub('[0-9]+', r'<\\g<0>>', 'a12'), re.search('b', 'abc').start(), re.match('b', 'ab'), re.findall('a(.)', 'abac'), bool(re.match('SR', 'sr', re.I)))", `("SR", ("SR", "BPM1"), "a<12>", 1, None, ["b", "c"], True)`},
		"escapes that mean themselves":   {"import re", "name = bool(re.match('\\w+:\\d+$', 'a:1')), '\\d'", `(True, "\\d")`},
		"fnmatch":                        {"import fnmatch", "name = fnmatch.fnmatch('SR:A', 'SR:[!B]'), fnmatch.fnmatch('SR:A1', 'SR:?')", "(True, False)"},
		"environment without one":        {"import os", "name = os.environ['A'] + os.getenv('B', 'b') + os.environ.get('C', 'c') + os.path.join('x', 'y')", "${A}bcx/y"},
		"types":                          {"", "name = isinstance('a', basestring), isinstance(1, (float, int)), type('a') == str, type([]) == list", "(True, True, True, True)"},
		"while, break, nested functions": {"def outer(n):\n    def inner(x): return x + n\n    return inner\n", "i = 0\nwhile True:\n    i += 1\n    if i > 4: break\nname = outer(3)(i)", "8"},
		"recursion":                      {"def f(n): return 1 if n < 2 else n * f(n - 1)", "name = f(20)", "2432902008176640000"},
		"top-level control":              {"X = []\nfor i in range(3):\n    if i != 1: X.append(i)\nX = X + [9]", "name = X", "[0, 2, 9]"},
		"nothing stays between calls":    {"SEEN = []", "SEEN.append(1)\nname = len(SEEN)", "1"},
		"deep copies":                    {"import copy", "a = {'x': [1]}\nb = copy.deepcopy(a)\nb['x'].append(2)\nname = a", `{"x": [1]}`},
		"print of all kinds":             {"import sys", "print 'a', 1\nprint\nprint >>sys.stderr, 'b'\nprint('c')\nprint ('%s') % 'd'\nsys.stdout.write('e')\nname = 'p'", "p"},
		"numbers and octal strings":      {"", "name = 10L + 0xFF", "265"},
		"assert that holds":              {"", "assert 1 < 2, 'no'\nname = 'yes'", "yes"},
		"global for reading":             {"X = 4", "global X\nname = X", "4"},
		"raise in a branch not taken":    {"", "if False: raise ValueError, 'no'\nname = 'ok'", "ok"},
		"map, filter, lambda":            {"", "name = map(lambda x: x + 1, filter(None, [0, 1]))", "[2]"},
		"except":                         {"def number(s, default):\n    try:\n        n = int(s)\n    except ValueError:\n        n = int(default)\n    if n <= 0: n = -1\n    return n\n", "name = (number('7', '1'), number('x', '60'), number('0', '1'))", "(7, 60, -1)"},
		"except at the top":              {"try:\n    import json\n    X = {}['a']\nexcept (TypeError, KeyError) as e:\n    X = 'no: ' + str(e)\n", "name = X", "no: key \"a\" not in dict"},
		"except of Python 2":             {"", "try: name = [1][3]\nexcept IndexError, e: name = 'index'", "index"},
		"the first that fits":            {"", "try:\n    if pvInfo['NO'] > 1: name = 'x'\n    name = 'y'\nexcept ValueError:\n    name = 'value'\nexcept LookupError:\n    name = 'lookup'\nexcept:\n    name = 'any'", "lookup"},
		"what was raised":                {"", "try:\n    raise RuntimeError('x')\nexcept Exception as e:\n    name = e", "the file raises RuntimeError: x"},
		"return within try":              {"def f(k):\n    try:\n        return {'a': 1}[k]\n    except KeyError:\n        return 'none'\n", "name = f('a'), f('b')", "(1, \"none\")"},
		"a loop within try":              {"", "l = []\ntry:\n    for x in ['1', 'b', '3']:\n        if x == '9': continue\n        y = int(x)\n        l.append(y)\n    l.append('end')\nexcept ValueError: l.append('stop')\nname = l", "[1, \"stop\"]"},
		"+= within try":                  {"", "n = 1\ntry:\n    n += int('2')\n    n += int('z')\n    n += 10\nexcept: pass\nname = n", "3"},
		"names of two underscores":       {"__count = 3\ndef __add(x, __y=1): return x + __y + __count", "name = __add(1), __add(1, __y=2), __name__", "(5, 6, \"policies\")"},
		"round, pow, long":               {"", "name = round(2.345, 1), pow(2, 10), long(3)", "(2.3, 1024, 3)"},
	} {
		t.Run(name, func(t *testing.T) {
			p := parse(t, "policies.py", python(c.top, c.body))
			for range 2 {
				d, matched := determine(t, p, connected("A:B", "ai", 1))
				if !matched || d.Policy != c.want {
					t.Fatalf("%q, want %q", d.Policy, c.want)
				}
			}
		})
	}
}

func TestPrintsBecomeNotes(t *testing.T) {
	p := parse(t, "policies.py", python("import sys, logging", "print 'a', 1\nprint >>sys.stderr, 'b'\nprint ('%s') % 'd'\nlogging.error('no %s', 'e')\nlogging.info('f')\nfor i in range(100): print i"))
	d, _ := determine(t, p, connected("A:B", "ai", 1))
	if len(d.Notes) != 20 || !reflect.DeepEqual(d.Notes[:5], []string{"a 1", "b", "d", "no e", "0"}) {
		t.Errorf("notes: %q", d.Notes)
	}
}

func TestWhatStarlarkLacksNamesLineAndColumn(t *testing.T) {
	for name, c := range map[string]struct{ top, want string }{
		"finally":           {"try:\n  x = 1\nfinally:\n  y = 1", "policies.py:3:1: try/finally is not available"},
		"else after except": {"try:\n  x = 1\nexcept:\n  y = 1\nelse:\n  z = 1", "policies.py:6:3: else after except is not available"},
		"try within try":    {"try:\n  try: x = 1\n  except: x = 2\nexcept:\n  y = 1", "policies.py:2:3: a try within a try is not available"},
		"not caught":        {"try:\n  x = int('a')\nexcept KeyError:\n  pass", "policies.py:3:1: in <toplevel>: int: invalid literal"},
		"names of pvlog":    {"__attempt()\n__second(1)", "policies.py:1:1: in <toplevel>: undefined: own__attempt"},
		"class":             {"\n\nclass A: pass", "policies.py:3:1: classes are not available: use functions and dicts"},
		"with":              {"with x as y: pass", "policies.py:1:1: with is not available"},
		"import, used":      {"import urllib\nx = urllib.quote('a')", "policies.py:2:5: urllib, imported in line 1, is not available in a policy; there are collections"},
		"from, used":        {"from os import system\nsystem('ls')", "policies.py:2:1: system, imported in line 1, is not available"},
		"import of all":     {"from os import *", "policies.py:1:1: import * is not available"},
		"f-string":          {"x = 1\ny = [1, f'{x}']", "policies.py:2:9: f-strings are not available"},
		"is":                {"x = 'a'\nif x is 'a': pass", "policies.py:2:6: \"is\" compares with None, True or False only: write =="},
		"power":             {"x = 2 ** 3", "policies.py:1:7: ** is not available: write pow(x, y)"},
		"backquotes":        {"x = `1`", "policies.py:1:5: backquotes are not available"},
		"yield":             {"def f():\n    yield 1", "policies.py:2:5: yield is not available"},
		"decorator":         {"@f\ndef g(): pass", "policies.py:1:1: decorators are not available"},
		"walrus":            {"if (x := 1): pass", "policies.py:1:7: := is not available"},
		"exec":              {"exec 'x = 1'", "policies.py:1:1: exec is not available"},
		"nonlocal":          {"def f():\n  nonlocal x", "policies.py:2:3: nonlocal is not available"},
		"global assigned":   {"N = 0\ndef f():\n  global N\n  N = 'a' 'b'\n", "policies.py:4:5: a function cannot assign to the global N"},
		"chained compare":   {"x = 1 < 2 < 3", "policies.py:1:12: < does not associate with < (use parens) (comparisons do not chain: write a < b and b < c)"},
		"column after edit": {"x = u'a' 'b' + ;", "policies.py:1:16: got ';', want primary expression"},
		"file":              {"x = open('/etc/passwd')", "policies.py:1:9: in <toplevel>: open is not available in a policy"},
		"process":           {"import os\nos.system('ls')", "os.system is not available in a policy: it can reach no file, process or network"},
		"clock":             {"import time\nx = time.time()", "policies.py:2:9: in <toplevel>: time.time is not available in a policy: it must decide the same at any time"},
		"look-around":       {"import re\nre.match('(?!a)b', 'b')", "(expressions are RE2's)"},
		"load":              {"load('a.star', 'b')", "undefined: load_"},
		"raise":             {"x = 1\nraise ValueError('no')", "policies.py:2:5: in <toplevel>: the file raises ValueError: no"},
		"raise of Python 2": {"raise ValueError, 'no'", "policies.py:1:5: in <toplevel>: the file raises ValueError: no"},
		"assert":            {"assert 1 > 2, 'why'", "policies.py:1:7: in <toplevel>: the assertion failed: why"},
		"format spec":       {"x = '{:5.1f}'.format(1.0)", "(write \"%5.2f\" % x)"},
		"open bracket":      {"x = (1,\n", "policies.py:1:5: \"(\" is never closed"},
		"open string":       {"x = 'a\n", "policies.py:1:5: the string is not closed on its line"},
		"dots":              {"x = " + strings.Repeat("(", 200), "nested more than 100 deep"},
		"letters":           {"for c in 'abc': pass", "(the letters of a text are s.elems())"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := policy.Parse("policies.py", []byte(python(c.top, "pass")))
			if schema.CodeOf(err) != schema.Invalid || !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("error: %v\nwant %q in it", err, c.want)
			}
		})
	}
}

func TestFileWithoutTheThreeFunctionsIsRefused(t *testing.T) {
	whole := python("", "pass")
	for cut, want := range map[string]string{
		"getPolicyList":                   "policies.py: it defines no function getPolicyList()",
		"getFieldsArchivedAsPartOfStream": "it defines no function getFieldsArchivedAsPartOfStream()",
		"determinePolicy":                 "it defines no function determinePolicy(pvInfo)",
	} {
		if _, err := policy.Parse("policies.py", []byte(strings.ReplaceAll(whole, cut, "other"))); !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("without %s: %v", cut, err)
		}
	}
	if _, err := policy.Parse("policies.py", []byte(strings.ReplaceAll(whole, `{"Default": "d"}`, `["Default"]`))); !strings.Contains(fmt.Sprint(err), "getPolicyList gives a list, not a dict") {
		t.Errorf("list of policies: %v", err)
	}
}

func TestAnswersAreChecked(t *testing.T) {
	for answer, want := range map[string]string{
		`[1]`:                                    "determinePolicy gives a list, not a dict",
		`None`:                                   "determinePolicy gives a NoneType, not a dict",
		`dict(OK, samplingPeriod="1")`:           `determinePolicy gives "1" as samplingPeriod, not a float above 0`,
		`dict(OK, samplingPeriod=[[1]])`:         "determinePolicy gives a list as samplingPeriod",
		`dict(OK, samplingPeriod=0.0)`:           "as samplingPeriod, not a float above 0",
		`dict(OK, samplingPeriod=float("nan"))`:  "as samplingPeriod, not a float above 0",
		`dict(OK, samplingPeriod=None)`:          "determinePolicy gives no samplingPeriod",
		`dict(OK, samplingMethod="monitor")`:     `determinePolicy gives "monitor" as samplingMethod: use 'MONITOR'`,
		`dict(OK, samplingMethod=None)`:          `as samplingMethod: use`,
		`dict(OK, dataStores="pb://x")`:          "determinePolicy: dataStores is a string, not a list of strings",
		`dict(OK, dataStores=[])`:                "determinePolicy gives no dataStores",
		`dict(OK, dataStores=[1])`:               "dataStores holds a int, not only strings",
		`dict(OK, dataStores=["a\n"])`:           "is printable",
		`dict(OK, dataStores=["x"] * 21)`:        "21 stores; 20 are allowed",
		`dict(OK, policyName=3)`:                 "a int as policyName, not a string",
		`dict(OK, policyName="x" * 201)`:         "has 1 to 200 bytes",
		`dict(OK, archiveFields=["HI HI"])`:      "archive field \"HI HI\"",
		`dict(OK, archiveFields=["HIHI"] * 501)`: "more than 500 elements",
		`dict(OK, archiveFields={"HIHI": 1})`:    "archiveFields is a dict, not a list",
		`dict(OK, controlPV="A B")`:              "determinePolicy: controlPV: PV \"A B\"",
		`dict(OK, controlPV=1)`:                  "a int as controlPV",
		`dict(OK)["no"]`:                         `policies.py:6:18: in determinePolicy: key "no" not in dict`,
	} {
		text := `OK = {"samplingPeriod": 1.0, "samplingMethod": "SCAN", "dataStores": ["x"], "appliance": 7}
def getPolicyList(): return {}
def getFieldsArchivedAsPartOfStream(): return ()
def determinePolicy(pvInfo):
  # the answer
  return ` + answer + "\n"
		_, _, err := parse(t, "policies.py", text).Determine(connected("A:B", "ai", 1))
		if schema.CodeOf(err) != schema.Invalid || !strings.HasPrefix(fmt.Sprint(err), "PV A:B: policies.py:") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %q in it", answer, err, want)
		}
	}
}

// An int fails in the Appliance; here it is taken, and told.
func TestPeriodThatIsAnIntIsTakenAndTold(t *testing.T) {
	p := parse(t, "policies.py", strings.ReplaceAll(python("", "pass"), "1.0", "2"))
	d, _ := determine(t, p, connected("A:B", "ai", 1))
	if d.Period != 2*time.Second || !strings.Contains(d.Why, "samplingPeriod is an int, which the Appliance refuses: write 2.0") {
		t.Errorf("decision: %+v", d)
	}
}

func TestInputsAreTheAppliances(t *testing.T) {
	p := parse(t, "policies.py", strings.Replace(python("", `name = ' '.join(['%s=%r' % (k, pvInfo[k]) for k in sorted(pvInfo.keys())])`), `{"Default": "d"}`, `{"Default": "d", "P": "p"}`, 1))
	pv := connected("A:B", "ao", 2.5)
	pv.Policy, pv.ControllingPV, pv.Alias, pv.Type, pv.Count = "P", "GATE", "ALIAS:1", schema.WaveformShort, 10
	pv.Fields["ADEL"] = "x"
	for _, c := range []struct {
		pv   policy.PV
		want string
	}{
		{pv, `MDEL=0.5 RTYP="ao" SCAN="1 second" aliasName="ALIAS:1" controlPV="GATE" dbrtype="DBR_WAVEFORM_SHORT" elementCount=10 eventCount=150 eventRate=2.5 policyName="P" pvName="A:B" storageRate=50.0`},
		{policy.PV{Name: "A:B", Type: schema.ScalarEnum, Count: 1, Connected: true, RateKnown: true}, `aliasName=None dbrtype="DBR_SCALAR_ENUM" elementCount=1 eventCount=0 eventRate=0.0 pvName="A:B" storageRate=0.0`},
	} {
		if d, _ := determine(t, p, c.pv); d.Policy != c.want {
			t.Errorf("inputs %s\nwant   %s", d.Policy, c.want)
		}
	}
}

func TestPythonIsAskedOnceItsInputsAreKnown(t *testing.T) {
	byRate := parse(t, "policies.py", python("", "if pvInfo.get('eventRate') > 2.0: name = 'fast'"))
	byName := parse(t, "policies.py", python("", "name = pvInfo['pvName']"))
	unmeasured := policy.PV{Name: "A:B", Type: schema.ScalarDouble, Count: 1, Connected: true}
	for name, c := range map[string]struct {
		p     *policy.Policies
		pv    policy.PV
		want  string
		later string
	}{
		"not connected":            {byName, policy.PV{Name: "A:B"}, "", "policies.py: it is asked when the PV has connected"},
		"connected, rate not used": {byName, unmeasured, "A:B", ""},
		"connected, rate used":     {byRate, unmeasured, "", "policies.py: it asks for the event rate, which is not known yet"},
		"rate known":               {byRate, connected("A:B", "ai", 3), "fast", ""},
	} {
		d, matched := determine(t, c.p, c.pv)
		if d.Policy != c.want || matched != (c.later == "") || d.Later != (c.later != "") || c.later != "" && d.Why != c.later {
			t.Errorf("%s: matched %v: %+v", name, matched, d)
		}
	}
	if !byName.NeedsRate() {
		t.Error("a policies.py may always ask for the rate")
	}
}

func TestFileThatRunsAwayIsStopped(t *testing.T) {
	for name, c := range map[string]struct{ body, want string }{
		"endless loop":        {"while True: pass", "too many steps"},
		"endless recursion":   {"def f(): return f()\nf()", "calls are nested more than 200 deep"},
		"endless lambda":      {"f = lambda g: g(g)\nf(f)", "calls are nested more than 200 deep"},
		"doubling text":       {"s = 'x'\nwhile True: s = s + s", "more than 1048576 bytes"},
		"doubling in place":   {"s = [1]\nwhile True: s += s", "more than 131072 elements"},
		"repeated text":       {"s = 'x' * 1000000000", "more than 1048576 bytes"},
		"repeated list":       {"s = 1000000000 * [1]", "more than 131072 elements"},
		"many texts":          {"l = []\nwhile True: l.append('x' * 1000000)", "does a loop never end?"},
		"many slices":         {"l = list(range(100000))\nm = []\nwhile True: m.append(l[1:])", "does a loop never end?"},
		"endless in try":      {"while True:\n    try: x = int('a')\n    except: pass", "does a loop never end?"},
		"doubling in try":     {"s = 'x'\ntry:\n    for i in range(99): s = s + s\nexcept: pass", "more than 1048576 bytes"},
		"recursion in try":    {"def f():\n    try: f()\n    except: pass\nf()", "calls are nested more than 200 deep"},
		"range":               {"max(range(1000000000000))", "a range of more than 131072 numbers"},
		"join":                {"s = 'x' * 1000000\n','.join([s] * 1000)", "a text of more than 1048576 bytes"},
		"join, unbound":       {"s = 'x' * 1000000\nf = ','.join\nf([s] * 1000)", "a text of more than 1048576 bytes"},
		"replace":             {"('x' * 1000000).replace('x', 'y' * 1000)", "a text of more than 1048576 bytes"},
		"format":              {"('{0}' * 1000).format('x' * 10000)", "a text of more than 1048576 bytes"},
		"percent":             {"x = ('%s' * 1000) % tuple(['x' * 10000] * 1000)", "a text of more than 1048576 bytes"},
		"large number":        {"n = 3\nwhile True: n = n * n", "more than 4096 bits"},
		"power":               {"pow(10, 1000000)", "more than 4096 bits"},
		"lists of lists":      {"l = [1]\nfor i in range(60): l = [l, l]\nprint l", "too large to be shown"},
		"tuples of tuples":    {"l = (1, 2)\nfor i in range(60): l = (l, l)\n{l: 1}", "more than 10000 values within values"},
		"extend":              {"l = [1] * 100000\nl.extend(l)", "more than 131072 elements"},
		"regular expressions": {"import re\nre.sub('', 'x' * 100000, 'y' * 100000)", "a text of more than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			top := ""
			if strings.HasPrefix(c.body, "import") {
				top, c.body, _ = strings.Cut(c.body, "\n")
			}
			begun := time.Now()
			_, _, err := parse(t, "policies.py", python(top, c.body)).Determine(connected("A:B", "ai", 1))
			if schema.CodeOf(err) != schema.Invalid || !strings.HasPrefix(fmt.Sprint(err), "PV A:B: policies.py:") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error after %v: %v\nwant %q in it", time.Since(begun), err, c.want)
			}
		})
	}
	if _, err := policy.Parse("policies.py", []byte("while True: pass\n")); !strings.Contains(fmt.Sprint(err), "policies.py:1:1: in <toplevel>: ") {
		t.Errorf("endless file: %v", err)
	}
}

func TestUndefinedNameHurtsWhereItIsUsed(t *testing.T) {
	p := parse(t, "policies.py", python("", "name = 'ok'\nif pvInfo['elementCount'] > 1: name = typo"))
	if want := []string{"policies.py:6:43: undefined: typo"}; !reflect.DeepEqual(p.Warnings(), want) && len(p.Warnings()) != 1 {
		t.Errorf("warnings: %q, want %q", p.Warnings(), want)
	}
	if d, matched := determine(t, p, connected("A:B", "ai", 1)); !matched || d.Policy != "ok" {
		t.Errorf("decision: %+v", d)
	}
	pv := connected("A:B", "ai", 1)
	pv.Count = 2
	if _, _, err := p.Determine(pv); !strings.HasSuffix(fmt.Sprint(err), "in determinePolicy: undefined: typo") {
		t.Errorf("error: %v", err)
	}
}

func TestEnvironmentIsThatOfTheOptions(t *testing.T) {
	text := python("import os", "name = os.environ['A'] + os.environ.get('B', 'b') + str('B' in os.environ)")
	p, err := policy.ParseWith("policies.py", []byte(text), func(name string) (string, bool) { return "value", name == "A" })
	if err != nil {
		t.Fatal(err)
	}
	if d, _ := determine(t, p, connected("A:B", "ai", 1)); d.Policy != "valuebFalse" {
		t.Errorf("policy %q", d.Policy)
	}
}

func TestManyMayAskAtOnce(t *testing.T) {
	p := parse(t, "policies.py", sitePython)
	want, _ := determine(t, p, connected("SR:BPM1:X", "ai", 1))
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for range 50 {
				if got, _, err := p.Determine(connected("SR:BPM1:X", "ai", 1)); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("%+v, %v", got, err)
					return
				}
			}
		})
	}
	asking.Wait()
}

func TestKindOfFileIsToldByNameOrContent(t *testing.T) {
	for _, c := range []struct{ name, text, list string }{
		{"site.conf", python("", "pass"), "Default"},
		{"site.conf", "- name: a\n", "a"},
		{"POLICIES.PY", python("", "pass"), "Default"},
		{"x/y/site.json", `[{"name": "j"}]`, "j"},
		{"latin1.py", strings.ReplaceAll(python("# \xe9t\xe9", "pass"), "\n", "\r\n"), "Default"},
		{"windows.py", strings.ReplaceAll("\ufeff"+python("# été", "pass"), "\n", "\r\n"), "Default"},
	} {
		if l := parse(t, c.name, c.text).List(); len(l) != 1 || l[0].Name != c.list {
			t.Errorf("%s: %v, want %s", c.name, l, c.list)
		}
	}
}

func BenchmarkDetermine(b *testing.B) {
	for file, text := range map[string]string{"yaml": siteRules, "py": sitePython} {
		p, err := policy.Parse("x."+file, []byte(text))
		if err != nil {
			b.Fatal(err)
		}
		pv := connected("SR:BPM1:X", "ai", 1)
		b.Run(file, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := p.Determine(pv); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
