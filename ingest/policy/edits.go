package policy

import (
	"cmp"
	"slices"
	"strings"
)

// edit replaces source[start:end]. An edit keeps the number of line ends, so
// that lines keep their numbers.
type edit struct {
	start, end int
	text       string
	order      int // among edits at one start; closers are below 0
}

// mapped is translated source that knows where its columns came from.
type mapped struct {
	text  string
	moves map[int][]move // by line, in order of column
}

// move says that from column out on, the source's column is in.
type move struct{ out, in int }

// apply makes the edits, which must not overlap.
func apply(source string, edits []edit) mapped {
	slices.SortFunc(edits, func(a, b edit) int { return cmp.Or(a.start-b.start, a.order-b.order) })
	m := mapped{moves: map[int][]move{}}
	var out strings.Builder
	at := 0
	lines := position{source: source, line: 1}
	outLine := 0 // offset in out where the present line began
	for _, e := range edits {
		out.WriteString(source[at:e.start])
		if n := strings.LastIndexByte(source[at:e.start], '\n'); n >= 0 {
			outLine = out.Len() - len(source[at:e.start]) + n + 1
		}
		line, column := lines.of(e.start)
		m.moves[line] = append(m.moves[line], move{out.Len() - outLine + 1, column})
		out.WriteString(e.text)
		if n := strings.LastIndexByte(e.text, '\n'); n >= 0 {
			outLine = out.Len() - len(e.text) + n + 1
		}
		line, column = lines.of(e.end)
		m.moves[line] = append(m.moves[line], move{out.Len() - outLine + 1, column})
		at = e.end
	}
	out.WriteString(source[at:])
	m.text = out.String()
	return m
}

// column gives the source's column of a place in the translated text.
func (m mapped) column(line, column int) int {
	moves := m.moves[line]
	for i := len(moves) - 1; i >= 0; i-- {
		if moves[i].out <= column {
			next := moves[i].in + column - moves[i].out
			if i+1 < len(moves) {
				next = min(next, moves[i+1].in) // inserted text has no place of its own
			}
			return next
		}
	}
	return column
}

// position counts lines and columns from 1, in bytes, for offsets that grow.
type position struct {
	source         string
	at, line, last int // last: offset where line began
}

func (p *position) of(offset int) (line, column int) {
	for ; p.at < offset && p.at < len(p.source); p.at++ {
		if p.source[p.at] == '\n' {
			p.line, p.last = p.line+1, p.at+1
		}
	}
	return p.line, offset - p.last + 1
}

// lineColumn gives the place of an offset.
func lineColumn(source string, offset int) (line, column int) {
	p := position{source: source, line: 1}
	return p.of(offset)
}
