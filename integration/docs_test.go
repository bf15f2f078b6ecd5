package integration

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestEveryPackageHasOneDoc(t *testing.T) {
	documented := map[string][]string{}
	for name, file := range parsedFiles(t) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		dir := path.Dir(name)
		documented[dir] = append(documented[dir], nil...)
		if file.syntax.Doc == nil {
			continue
		}
		documented[dir] = append(documented[dir], name)
		first, want := file.syntax.Doc.Text(), "Package "+file.syntax.Name.Name+" "
		if file.syntax.Name.Name == "main" {
			want = "Command " + path.Base(dir) + " "
		}
		if !strings.HasPrefix(first, want) {
			t.Errorf("%s: the package doc begins %.40q, not %q", name, first, want)
		}
	}
	for dir, files := range documented {
		if len(files) != 1 {
			t.Errorf("%s has %d package docs %v, want one", dir, len(files), files)
		}
	}
}

func TestEveryExportedNameIsDocumented(t *testing.T) {
	for name, file := range parsedFiles(t) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, undocumented := range undocumentedNames(file.syntax) {
			t.Errorf("%s:%d: %s has no doc comment", name, file.set.Position(undocumented.Pos()).Line, undocumented.Name)
		}
	}
}

// undocumentedNames gives the exported names of a file that no comment
// explains: a name's own, the one at its line's end, or its group's.
func undocumentedNames(file *ast.File) []*ast.Ident {
	var names []*ast.Ident
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Doc == nil && d.Name.IsExported() && receiverExported(d) {
				names = append(names, d.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				names = append(names, undocumentedSpec(d, spec)...)
			}
		}
	}
	return names
}

func undocumentedSpec(d *ast.GenDecl, spec ast.Spec) []*ast.Ident {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && s.Doc == nil && (d.Doc == nil || d.Lparen.IsValid()) {
			return []*ast.Ident{s.Name}
		}
		if i, ok := s.Type.(*ast.InterfaceType); ok && s.Name.IsExported() {
			return undocumentedMethods(i)
		}
	case *ast.ValueSpec:
		if s.Doc != nil || s.Comment != nil || d.Doc != nil {
			return nil
		}
		return slices.DeleteFunc(slices.Clone(s.Names), func(n *ast.Ident) bool { return !n.IsExported() })
	}
	return nil
}

func undocumentedMethods(i *ast.InterfaceType) []*ast.Ident {
	var names []*ast.Ident
	for _, method := range i.Methods.List {
		if method.Doc == nil && method.Comment == nil {
			names = append(names, method.Names...)
		}
	}
	return names
}

func receiverExported(f *ast.FuncDecl) bool {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return true
	}
	t := f.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

func TestUndocumentedNamesAreSeen(t *testing.T) {
	for source, want := range map[string]string{
		"func F() {}":                                      "[F]",
		"// F is.\nfunc F() {}":                            "[]",
		"func f() {}":                                      "[]",
		"type t int\nfunc (t) M() {}":                      "[]",
		"// T is.\ntype T int\nfunc (*T) M() {}":           "[M]",
		"// T is.\ntype T[A any] int\nfunc (*T[A]) M() {}": "[M]",
		"type T int":                                       "[T]",
		"// Ts are.\ntype (\nT int\n)":                     "[T]",
		"const A = 1":                                      "[A]",
		"const A = 1 // is":                                "[]",
		"// They are.\nvar (\nA = 1\nB = 2\n)":             "[]",
		"var a, B = 1, 2":                                  "[B]",
		"// T is.\ntype T interface{ M() }":                "[M]",
		"// T is.\ntype T interface{\n// M is.\nM()\n}":    "[]",
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\n"+source, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(undocumentedNames(file)); got != want {
			t.Errorf("%q: %s, want %s", source, got, want)
		}
	}
}

// TestMatrixNamesTestsThatExist: the table of ingest/README.md has every row of
// the client's test matrix, with tests that are there.
func TestMatrixNamesTestsThatExist(t *testing.T) {
	there := testNames(t)
	text, err := os.ReadFile(filepath.Join(repositoryRoot(t), "ingest", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, matrix, _ := strings.Cut(string(text), "## Test matrix")
	rows := map[int]bool{}
	for _, line := range regexp.MustCompile(`(?m)^\| (\d[\d, -]*) \|.*$`).FindAllStringSubmatch(matrix, -1) {
		tests := regexp.MustCompile(`\b(?:Test|Fuzz)\w+`).FindAllString(line[0], -1)
		if len(tests) == 0 {
			t.Errorf("row %s names no test", line[1])
		}
		for _, name := range tests {
			if !there[name] {
				t.Errorf("row %s names %s, which does not exist", line[1], name)
			}
		}
		for _, part := range strings.Split(line[1], ",") {
			first, last, ranged := strings.Cut(strings.TrimSpace(part), "-")
			from, _ := strconv.Atoi(first)
			to := from
			if ranged {
				to, _ = strconv.Atoi(last)
			}
			for row := from; row <= to; row++ {
				rows[row] = true
			}
		}
	}
	for row := 1; row <= 68; row++ {
		if !rows[row] {
			t.Errorf("row %d is missing", row)
		}
	}
}

// testNames are the functions of all test files.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	there := map[string]bool{}
	for name, file := range parsedFiles(t) {
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, decl := range file.syntax.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil {
				there[f.Name.Name] = true
			}
		}
	}
	return there
}

// seedRows are the rows of SEED.md: first and last of each group.
var seedRows = [][2]int{{1, 26}, {30, 42}, {45, 47}, {50, 54}, {60, 61}, {70, 78}}

// TestEverySeedRowHasItsTest: each behaviour of the seed system is required by
// a test whose name carries the row.
func TestEverySeedRowHasItsTest(t *testing.T) {
	there := testNames(t)
	text, err := os.ReadFile("SEED.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, line := range regexp.MustCompile(`(?m)^\| (S\d+) \|.*$`).FindAllStringSubmatch(string(text), -1) {
		rows[line[1]] = line[0]
	}
	for _, group := range seedRows {
		for n := group[0]; n <= group[1]; n++ {
			row, named := fmt.Sprintf("S%d", n), false
			for _, name := range regexp.MustCompile(`\b(?:Test|Fuzz)\w+`).FindAllString(rows[row], -1) {
				if !there[name] {
					t.Errorf("row %s names %s, which does not exist", row, name)
				}
				named = named || slices.Contains(strings.Split(name, "_"), row)
			}
			if !named {
				t.Errorf("row %s: no test of it has the row in its name", row)
			}
		}
	}
}
