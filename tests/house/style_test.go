package house_test

import (
	"go/ast"
	"go/doc"
	"go/token"
	"path"
	"regexp"
	"strings"
	"testing"
)

// Each directory has exactly one package comment, and it starts as godoc wants it to.
func TestPackageDoc(t *testing.T) {
	type pkg struct{ name, doc string }
	docs := map[string][]string{} // directory -> files with a package comment
	pkgs := map[string]pkg{}
	for _, s := range sources(t) {
		if s.isTest {
			continue
		}
		p := pkgs[s.dir]
		p.name = s.file.Name.Name
		if s.file.Doc != nil {
			docs[s.dir] = append(docs[s.dir], s.path)
			p.doc = s.file.Doc.Text()
		}
		pkgs[s.dir] = p
	}
	for dir, p := range pkgs {
		if n := len(docs[dir]); n != 1 {
			t.Errorf("%s has %d package comments %q, want exactly one", dir, n, docs[dir])
			continue
		}
		want := "Package " + p.name + " "
		if p.name == "main" {
			want = "Command " + path.Base(dir) + " "
		}
		if !strings.HasPrefix(strings.Join(strings.Fields(p.doc), " "), want) {
			t.Errorf("%s: the package comment starts %q, want %q", docs[dir][0], firstWords(p.doc), want)
		}
	}
}

// unsafeFile is what a file that may import unsafe is called.
var unsafeFile = regexp.MustCompile(`_unsafe(_[a-z0-9]+)*\.go$`)

// unsafe is imported only by files that are named for it, so that who wants to read all
// of it knows where it is.
func TestUnsafeStandsInFilesNamedForIt(t *testing.T) {
	for _, s := range sources(t) {
		for _, i := range s.file.Imports {
			if i.Path.Value == `"unsafe"` && !unsafeFile.MatchString(path.Base(s.path)) {
				t.Errorf("%s imports unsafe: move what needs it to a file named *_unsafe.go", s.at(i.Pos()))
			}
		}
	}
}

// Files are named for a role or a mechanism. These names say neither.
func TestFileNames(t *testing.T) {
	says := map[string]bool{
		"util": true, "utils": true, "common": true, "types": true, "helpers": true,
		"helper": true, "misc": true, "vars": true, "const": true, "consts": true,
		"constants": true, "base": true, "shared": true, "lib": true,
	}
	for _, name := range files(t) {
		stem := strings.TrimSuffix(path.Base(name), path.Ext(name))
		stem = strings.TrimSuffix(stem, "_test")
		if says[stem] && path.Ext(name) == ".go" {
			t.Errorf("%s: the name does not say what stands in it", name)
		}
		for _, dir := range strings.Split(path.Dir(name), "/") {
			if says[dir] {
				t.Errorf("%s: the directory name %q does not say what stands in it", name, dir)
			}
		}
	}
}

// marker finds notes to oneself, spelled so that this file does not hold one.
var marker = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)

// What is left to do is told to whoever decides about it, not to the next reader.
func TestNoNotesToOneself(t *testing.T) {
	for _, s := range sources(t) {
		for _, group := range s.file.Comments {
			for _, c := range group.List {
				if m := marker.FindString(c.Text); m != "" {
					t.Errorf("%s: a %s in a comment: do it, or file it", s.at(c.Pos()), m)
				}
			}
		}
	}
}

// wellKnown methods say by their name what they do: they are fmt's, errors' and encoding's.
var wellKnown = map[string]bool{
	"String": true, "Error": true, "Unwrap": true, "Is": true, "As": true,
	"MarshalBinary": true, "UnmarshalBinary": true, "MarshalText": true, "UnmarshalText": true,
}

// Every exported name is documented: functions, types, constants, variables, methods
// of exported types, and, where users see them, the fields of exported structs.
func TestExportedNamesAreDocumented(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest || s.file.Name.Name == "main" {
			continue
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv != nil && wellKnown[d.Name.Name] {
					continue
				}
				if d.Name.IsExported() && receiverExported(d) && d.Doc == nil {
					t.Errorf("%s: %s has no comment", s.at(d.Pos()), d.Name.Name)
				}
			case *ast.GenDecl:
				checkGenDecl(t, s, d)
			}
		}
	}
}

func checkGenDecl(t *testing.T, s *source, d *ast.GenDecl) {
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if !spec.Name.IsExported() {
				continue
			}
			if spec.Doc == nil && d.Doc == nil {
				t.Errorf("%s: type %s has no comment", s.at(spec.Pos()), spec.Name.Name)
			}
			if strings.HasPrefix(s.path, "internal/") {
				continue
			}
			switch body := spec.Type.(type) {
			case *ast.StructType:
				checkFields(t, s, spec.Name.Name, body.Fields)
			case *ast.InterfaceType:
				checkFields(t, s, spec.Name.Name, body.Methods)
			}
		case *ast.ValueSpec:
			// One comment over a group of constants or variables speaks for the group.
			if spec.Doc != nil || spec.Comment != nil || d.Doc != nil {
				continue
			}
			for _, name := range spec.Names {
				if name.IsExported() {
					t.Errorf("%s: %s has no comment", s.at(name.Pos()), name.Name)
				}
			}
		}
	}
}

// checkFields wants a comment over or behind one of the fields, or methods, of each
// paragraph that has an exported one: fields that speak for themselves may stand beside
// one that is explained.
func checkFields(t *testing.T, s *source, owner string, fields *ast.FieldList) {
	var silent []*ast.Ident // exported names of the paragraph
	documented := false
	finish := func() {
		if !documented {
			for _, name := range silent {
				t.Errorf("%s: %s.%s has no comment", s.at(name.Pos()), owner, name.Name)
			}
		}
		silent, documented = nil, false
	}
	lastLine := -1
	for _, f := range fields.List {
		first := s.fset.Position(f.Pos()).Line
		if f.Doc != nil {
			first = s.fset.Position(f.Doc.Pos()).Line
		}
		if first > lastLine+1 {
			finish()
		}
		lastLine = s.fset.Position(f.End()).Line
		documented = documented || f.Doc != nil || f.Comment != nil
		for _, name := range f.Names { // none: embedded, which its own type documents
			if name.IsExported() {
				silent = append(silent, name)
			}
		}
	}
	finish()
}

// receiverExported reports whether d is a function, or a method of an exported type.
func receiverExported(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return token.IsExported(x.Name)
		default:
			return true
		}
	}
}

func firstWords(s string) string {
	w := strings.Fields(s)
	return strings.Join(w[:min(len(w), 5)], " ")
}

// Each package of the public has an example of the whole, and more of its parts, which go test runs: they have an output.
func TestPackagesHaveExamples(t *testing.T) {
	examples := map[string]map[string]bool{} // directory -> names
	for _, s := range sources(t) {
		if !s.isTest {
			continue
		}
		for _, e := range doc.Examples(s.file) {
			if examples[s.dir] == nil {
				examples[s.dir] = map[string]bool{}
			}
			examples[s.dir][e.Name] = true
			if e.Output == "" && !e.EmptyOutput {
				t.Errorf("%s: Example%s has no output, so that it is not run", s.path, e.Name)
			}
		}
	}
	for _, line := range layers[1 : len(layers)-1] {
		for _, dir := range line {
			if !examples[dir][""] || len(examples[dir]) < 2 {
				t.Errorf("%s has the examples %v; want one of the package and more", dir, examples[dir])
			}
		}
	}
}
