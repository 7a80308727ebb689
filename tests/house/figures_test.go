package house_test

import (
	"path"
	"regexp"
	"strings"
	"testing"
)

// made is what bench/figures writes into a page, from docs/performance.json; a test beside it sees that it is that.
var made = regexp.MustCompile(`(?s)<!-- bench: .*?<!-- /bench -->`)

// measured finds what must have been measured by somebody, some day: nanoseconds, and how many times as fast something is.
var measured = regexp.MustCompile(`\d ?(ns|[µμu]s)\b|\d ?×|(?i)\b(\d+|twice|two|three|four|five|ten|twenty|hundred|thousand)( times)? as (fast|slow|long)\b`)

// A figure that is written by hand is wrong some day, and nobody notices. So they stand where they are made of a measurement, and prose links there.
// The decisions are dated: their figures are those on which something was decided.
func TestFiguresAreNotWrittenByHand(t *testing.T) {
	pages := 0
	for _, name := range files(t) {
		if path.Ext(name) != ".md" || name == "docs/decisions.md" {
			continue
		}
		text := read(t, name)
		if made.MatchString(text) {
			pages++
		}
		for line := range strings.Lines(made.ReplaceAllString(text, "")) {
			if m := measured.FindString(line); m != "" {
				t.Errorf("%s has the figure %q, which nothing makes: link to docs/performance.md instead, or let bench measure it\n\t%s", name, m, line)
			}
		}
	}
	if pages < 2 {
		t.Errorf("%d pages have figures that are made, want the README and docs/performance.md", pages)
	}
}
