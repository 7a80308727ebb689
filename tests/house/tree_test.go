package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// root is the repository, seen from this directory, where go test runs.
const root = "../.."

// module is the module path of the repository.
const module = "github.com/go-multiproc/multiproc"

// A source is one parsed Go file of the repository.
type source struct {
	path   string // slash-separated, relative to the root
	dir    string // "." for the root
	file   *ast.File
	fset   *token.FileSet
	isTest bool
}

// at is the place of p, for messages.
func (s *source) at(p token.Pos) string {
	return s.path + ":" + strconv.Itoa(s.fset.Position(p).Line)
}

// sources parses every Go file of the repository, those for other platforms and other
// build tags included.
func sources(t *testing.T) []*source {
	t.Helper()
	var all []*source
	fset := token.NewFileSet()
	for _, name := range files(t) {
		if path.Ext(name) != ".go" {
			continue
		}
		f, err := parser.ParseFile(fset, filepath.Join(root, name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &source{
			path:   name,
			dir:    path.Dir(name),
			file:   f,
			fset:   fset,
			isTest: strings.HasSuffix(name, "_test.go"),
		})
	}
	if len(all) == 0 {
		t.Fatal("no Go files found: is root right?")
	}
	return all
}

// files lists the repository's files, relative to its root, without what git and the
// go command keep out of a package too: directories that start with a dot, testdata.
func files(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := d.Name()
			if rel != "." && (strings.HasPrefix(base, ".") || base == "testdata") || rel == "bin" {
				return fs.SkipDir
			}
			return nil
		}
		all = append(all, filepath.ToSlash(rel))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// read returns one file of the repository.
func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
