package house_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// link finds the target of a Markdown link.
var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// code finds blocks and spans of code, in which brackets mean something else.
var code = regexp.MustCompile("(?ms)^```.*?^```|`[^`\n]*`")

// Links between the repository's files lead somewhere.
func TestLinksLeadSomewhere(t *testing.T) {
	for _, name := range files(t) {
		if path.Ext(name) != ".md" {
			continue
		}
		prose := code.ReplaceAllString(read(t, name), "")
		for _, m := range link.FindAllStringSubmatch(prose, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			to := name
			if target != "" {
				to = path.Join(path.Dir(name), target)
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s links to %s, which is not there", name, target)
				continue
			}
			if anchor != "" && path.Ext(to) == ".md" && !hasHeading(read(t, to), anchor) {
				t.Errorf("%s links to #%s, and %s has no such heading", name, anchor, to)
			}
		}
	}
}

// hasHeading reports whether a heading of text has this anchor: its words in lower case,
// joined by hyphens.
func hasHeading(text, anchor string) bool {
	for line := range strings.Lines(text) {
		if heading, ok := strings.CutPrefix(line, "#"); ok {
			words := regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.TrimLeft(heading, "#"), "")
			if strings.ReplaceAll(strings.ToLower(strings.TrimSpace(words)), " ", "-") == anchor {
				return true
			}
		}
	}
	return false
}
