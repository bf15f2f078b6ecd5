package integration

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Bounds of what a reader must hold in mind.
const (
	maxFileLines     = 600
	maxFunctionLines = 90
)

// topLevel is all that may stand at the root of the repository, beside
// dotfiles and what .gitignore names.
var topLevel = []string{
	"cmd", "consumers", "ingest", "integration", "schema", "streams",
	"docker-compose.yml", "go.mod", "go.sum", "Makefile", "README.md", "CHANGELOG.md", "LICENSE",
}

// emptyNames say nothing about what a file or package holds.
var emptyNames = []string{"util", "utils", "common", "helper", "helpers", "manager", "managers", "misc"}

// repositoryRoot is the folder of go.mod.
func repositoryRoot(t testing.TB) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatalf("find the repository: %v", err)
	}
	return root
}

// ignored reports whether a name at the root is one that .gitignore keeps out.
func ignored(t *testing.T, root, name string) bool {
	t.Helper()
	patterns, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	for pattern := range strings.FieldsSeq(string(patterns)) {
		if ok, _ := path.Match(strings.Trim(pattern, "/"), name); ok {
			return true
		}
	}
	return false
}

// sourceFiles gives the repository's own files as slash paths below root.
func sourceFiles(t *testing.T, root string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		top := !strings.Contains(rel, "/") && rel != "."
		if top && (strings.HasPrefix(rel, ".") || ignored(t, root, rel)) || d.Name() == "testdata" || d.Name() == "__pycache__" {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !d.IsDir() {
			files = append(files, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestTopOfTheTreeIsFixed(t *testing.T) {
	root := repositoryRoot(t)
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || slices.Contains(topLevel, name) || ignored(t, root, name) {
			continue
		}
		t.Errorf("%s stands at the top of the tree, which has only %s", name, strings.Join(topLevel, " "))
	}
}

func TestTreeIsTwoLevelsDeep(t *testing.T) {
	for _, file := range sourceFiles(t, repositoryRoot(t)) {
		dir := path.Dir(file)
		if path.Ext(file) != ".go" || dir == "cmd/pvlog/appliance" {
			continue
		}
		if strings.Count(dir, "/") > 1 {
			t.Errorf("%s is a package on the third level", dir)
		}
	}
}

func TestFilesAreNamedForWhatTheyHold(t *testing.T) {
	for _, file := range sourceFiles(t, repositoryRoot(t)) {
		for part := range strings.SplitSeq(strings.TrimSuffix(file, path.Ext(file)), "/") {
			for word := range strings.SplitSeq(strings.TrimSuffix(part, "_test"), "_") {
				if slices.Contains(emptyNames, strings.ToLower(word)) {
					t.Errorf("%s: %q says nothing", file, word)
				}
			}
		}
	}
}

func TestFilesFitInTheMind(t *testing.T) {
	root := repositoryRoot(t)
	for _, file := range sourceFiles(t, root) {
		if strings.HasSuffix(file, ".pb.go") || !slices.Contains([]string{".go", ".py", ".js", ".css", ".html", ".proto", ".db"}, path.Ext(file)) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		if lines := bytes.Count(content, []byte("\n")); lines > maxFileLines {
			t.Errorf("%s has %d lines, more than %d", file, lines, maxFileLines)
		}
	}
}

func TestFunctionsFitOnAPage(t *testing.T) {
	for name, file := range parsedFiles(t) {
		for _, decl := range file.syntax.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if lines := file.set.Position(f.End()).Line - file.set.Position(f.Pos()).Line + 1; lines > maxFunctionLines {
				t.Errorf("%s: %s has %d lines, more than %d", name, f.Name.Name, lines, maxFunctionLines)
			}
		}
	}
}

type parsedFile struct {
	set    *token.FileSet
	syntax *ast.File
}

// parsedFiles gives every Go file that a person wrote.
func parsedFiles(t *testing.T) map[string]parsedFile {
	t.Helper()
	root := repositoryRoot(t)
	files := map[string]parsedFile{}
	for _, name := range sourceFiles(t, root) {
		if path.Ext(name) != ".go" || strings.HasSuffix(name, ".pb.go") {
			continue
		}
		set := token.NewFileSet()
		syntax, err := parser.ParseFile(set, filepath.Join(root, filepath.FromSlash(name)), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = parsedFile{set: set, syntax: syntax}
	}
	if len(files) == 0 {
		t.Fatal("found no Go file")
	}
	return files
}
