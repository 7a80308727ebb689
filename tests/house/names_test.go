package house_test

import (
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What the documentation names of the packages, in prose and tables, is there: process.Register, pool.Options. (Blocks of code
// are compiled: see TestDocumentedGo.)
func TestDocsNameWhatThereIs(t *testing.T) {
	exported := map[string]map[string]bool{} // package -> names
	for _, s := range sources(t) {
		if strings.Contains(s.dir, "/") || separateModule(s.path) {
			continue
		}
		if exported[s.dir] == nil {
			exported[s.dir] = map[string]bool{}
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					exported[s.dir][d.Name.Name] = true
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						exported[s.dir][spec.Name.Name] = true
					case *ast.ValueSpec:
						for _, n := range spec.Names {
							exported[s.dir][n.Name] = true
						}
					}
				}
			}
		}
	}
	named := regexp.MustCompile(`\b(` + strings.Join(slices.Concat(layers[1:len(layers)-1]...), "|") + `)\.([A-Z]\w*)`)
	block := regexp.MustCompile("(?ms)^```.*?^```")
	seen := 0
	for _, name := range files(t) {
		if path.Ext(name) != ".md" || strings.HasPrefix(name, "bench/") {
			continue
		}
		for line := range strings.Lines(block.ReplaceAllString(read(t, name), "")) {
			if strings.HasPrefix(line, "|") && strings.Contains(name, "docs/") {
				_, line, _ = strings.Cut(line[1:], "|") // the first cell may have another language's names
			}
			for _, s := range span.FindAllString(line, -1) {
				for _, m := range named.FindAllStringSubmatch(s, -1) {
					seen++
					if !exported[m[1]][m[2]] {
						t.Errorf("%s: %s: package %s has no %s", name, s, m[1], m[2])
					}
				}
			}
		}
	}
	if seen < 100 {
		t.Errorf("found %d names only", seen)
	}
}
