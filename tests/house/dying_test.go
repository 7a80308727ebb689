package house_test

import (
	"go/ast"
	"regexp"
	"strings"
	"testing"
)

// Each promise about death names the tests that show it, and these are there.
func TestPromisesAboutDeathHaveTests(t *testing.T) {
	const page = "docs/dying.md"
	tests := map[string]bool{} // directory.TestName
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && s.isTest && f.Recv == nil {
				tests[s.dir+"."+f.Name.Name] = true
			}
		}
	}
	name := regexp.MustCompile("`([a-z_/]+\\.Test\\w+)`")
	rows := 0
	for line := range strings.Lines(read(t, page)) {
		named := name.FindAllStringSubmatch(line, -1)
		for _, m := range named {
			if !tests[m[1]] {
				t.Errorf("%s names %s, which is not there: %s", page, m[1], line)
			}
		}
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || strings.HasPrefix(line, "| who dies |") {
			continue
		}
		rows++
		if cells := strings.Split(line, "|"); len(cells) != 5 || !name.MatchString(cells[3]) {
			t.Errorf("%s: a row without who, what and a test that shows it: %s", page, line)
		}
	}
	if rows < 40 {
		t.Errorf("found %d rows only", rows)
	}
}
