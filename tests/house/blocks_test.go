package house_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/internal/scratch"
)

// goBlock finds the Go blocks of a Markdown text, with a comment that stands directly before one.
var goBlock = regexp.MustCompile("(?ms)(?:^<!-- ([^>]*?) -->\n)?^```go\n(.*?)^```$")

// A block of Go in the documentation is one of three:
//
//   - a file, with its package clause. A comment before it says which test runs it: <!-- run by TestX -->
//   - declarations
//   - statements, as they would stand in a function that has a ctx and returns an error
//
// What the latter two need and the reader can imagine, a comment before the block declares, which no reader
// sees: <!-- with var p *process.Process -->. The packages that they name are imported for them.
type block struct {
	page string
	nth  int // of its page, from 1
	text string
	with string
	test string // that runs it
}

func (b block) isFile() bool { return strings.HasPrefix(b.text, "package ") }

func blocks(t *testing.T) (all []block) {
	for _, page := range files(t) {
		if path.Ext(page) != ".md" {
			continue
		}
		for i, m := range goBlock.FindAllStringSubmatch(read(t, page), -1) {
			b := block{page: page, nth: i + 1, text: m[2]}
			b.with, _ = strings.CutPrefix(m[1], "with ")
			b.test, _ = strings.CutPrefix(m[1], "run by ")
			all = append(all, b)
		}
	}
	return all
}

// Every Go block of the documentation compiles when it is pasted.
func TestDocumentedGoCompiles(t *testing.T) {
	if testing.Short() {
		t.Skip("builds programs")
	}
	// One module holds every block as a package of its own, so that one run of the go command does for all.
	dir := t.TempDir()
	all := blocks(t)
	if len(all) < 10 {
		t.Fatalf("found %d Go blocks only", len(all))
	}
	for _, b := range all {
		name := "block.go"
		if strings.Contains(b.text, "testing.M") {
			name = "block_test.go"
		}
		place := fmt.Sprintf("%s_%d", strings.NewReplacer("/", "_", ".", "_").Replace(b.page), b.nth)
		scratch.Write(t, filepath.Join(dir, place, name), b.complete(t))
	}
	// A package of the user's own that a block imports.
	scratch.Write(t, filepath.Join(dir, "thumbnails", "thumbnails.go"), "package thumbnails\n\nfunc Make(string) error { return nil }\n")
	scratch.Module(t, dir, "example.com/program", root)
	// (Statements may end in an endless loop, behind which the return of the function around them is not reached.)
	cmd := exec.Command("go", "vet", "-unreachable=false", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), scratch.Env()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("a block does not compile: %v\n%s", err, out)
	}
}

// Every whole program of the documentation is run by a test, which is named before it.
func TestDocumentedProgramsAreRun(t *testing.T) {
	tests := testNames(t)
	for _, b := range blocks(t) {
		if b.isFile() && !tests[b.test] {
			t.Errorf("%s, block %d is a program, and no comment <!-- run by TestX --> before it names a test that there is", b.page, b.nth)
		}
	}
}

// testNames are the names of all tests of the repository.
func testNames(t *testing.T) map[string]bool {
	names := map[string]bool{}
	for _, s := range sources(t) {
		if !s.isTest {
			continue
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				names[f.Name.Name] = true
			}
		}
	}
	return names
}

// complete makes a file of a block.
func (b block) complete(t *testing.T) string {
	if b.isFile() {
		return b.text
	}
	text := b.text
	if _, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+text, 0); err != nil {
		text = fmt.Sprintf("func _(ctx context.Context) error {\n%s\n%s\nreturn nil\n}\n", text, uses(t, b))
	}
	text += "\n" + b.with + "\n"
	known := map[string]string{}
	for _, p := range []string{
		"context", "errors", "flag", "fmt", "io", "log", "log/slog", "net", "os", "os/exec", "slices", "sync", "syscall", "testing", "time",
	} {
		known[path.Base(p)] = p
	}
	for _, names := range layers[1 : len(layers)-1] {
		for _, name := range names {
			known[name] = module + "/" + name
		}
	}
	var imports strings.Builder
	for name, p := range known {
		if regexp.MustCompile(`(^|[^\w."])` + name + `\.[A-Z]`).MatchString(text) {
			fmt.Fprintf(&imports, "import %q\n", p)
		}
	}
	return "package block\n\n" + imports.String() + "\n" + text
}

// uses uses what statements declare: a fragment need not do anything with it.
func uses(t *testing.T, b block) string {
	f, err := parser.ParseFile(token.NewFileSet(), "", "package p\nfunc _() {\n"+b.text+"\n}", 0)
	if err != nil {
		t.Errorf("%s, block %d is neither declarations nor statements: %v", b.page, b.nth, err)
		return ""
	}
	var names []ast.Expr
	for _, s := range f.Decls[0].(*ast.FuncDecl).Body.List {
		switch s := s.(type) {
		case *ast.AssignStmt:
			if s.Tok == token.DEFINE {
				names = append(names, s.Lhs...)
			}
		case *ast.DeclStmt:
			for _, spec := range s.Decl.(*ast.GenDecl).Specs {
				if v, ok := spec.(*ast.ValueSpec); ok {
					for _, n := range v.Names {
						names = append(names, n)
					}
				}
			}
		}
	}
	var text strings.Builder
	for _, n := range names {
		if id, ok := n.(*ast.Ident); ok && id.Name != "_" {
			fmt.Fprintf(&text, "_ = %s\n", id.Name)
		}
	}
	return text.String()
}
