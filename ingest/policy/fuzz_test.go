package policy_test

import (
	"testing"

	"pvlog/ingest/policy"
	"pvlog/schema"
)

// Whatever a file holds, it is read or refused, and each PV gets a decision or
// an error: in bounded time, without a panic.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"p.py", "p.yaml", "p"} {
		for _, text := range []string{
			sitePython, siteRules, python("", "pass"), "- name: a\n  pv: [A, B]\n  stores: x\n", "{}", "rules: [{name: a}]", "",
			"x = ('a' u'b' % 3 for x in {1, 2})\nprint >>f, `x`\n", "l = [1]\nl += l * 9\ndel l[0]\nraise E, 'x'\n", "try:\n  x\nexcept (A, B), e:\n  y\n",
			"def determinePolicy(p): return p.copy()['%s' % 1 / 2 << 3]\n", "from a import (b as c,\n d)\nimport os.path as p; assert x, y\n", "__caught()\ntry: x = 1\nexcept (A, B) as e: e()\nexcept: pass\n", "global x\nx is not None\n\tif y <> 1L: pass",
			"f = lambda: f()\nf()\nwhile 1: f = f, f\n", "s = 'x' * 99\nfor i in xrange(99): s = s.replace('x', s).join([s])\n", "import re\nre.sub('(a|a)*', '\\\\1', 'a' * 99)\n", "- name: a\n  regex: '(a*)*'\n  glob: '['\n---\n- *x\n",
		} {
			f.Add(name, []byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		p, err := policy.Parse(name, text)
		if err != nil {
			if p != nil || schema.CodeOf(err) != schema.Invalid || err.Error() == "" {
				t.Fatalf("policies %v, error %v", p, err)
			}
			return
		}
		for _, pv := range []policy.PV{{Name: "A:B", Type: schema.UnknownType}, connected("A:B", "ai", 3), {Name: "A:B.HIHI", Connected: true}} {
			for _, n := range append(p.List(), policy.Named{}) {
				pv.Policy = n.Name
				d, matched, err := p.Determine(pv)
				if err != nil && schema.CodeOf(err) != schema.Invalid {
					t.Fatalf("error: %v", err)
				}
				if matched && (d.Later || d.Why == "") || err != nil && matched {
					t.Fatalf("matched %v, error %v: %+v", matched, err, d)
				}
			}
		}
	})
}
