package house_test

import (
	"regexp"
	"strings"
	"testing"
)

// picture finds a line of the README's picture of the packages: a directory, then words.
var picture = regexp.MustCompile(`(?m)^ {2,}((?:[a-z]+/?)+(?: {1,2}[a-z]+)*) {2,}\S`)

// The README's picture shows the directories that there are, no more and no fewer.
func TestReadmePictureMatchesTheTree(t *testing.T) {
	readme := read(t, "README.md")
	_, rest, found := strings.Cut(readme, "<!-- packages -->")
	body, _, closed := strings.Cut(rest, "<!-- /packages -->")
	if !found || !closed {
		t.Fatal("README.md has no picture between <!-- packages --> and <!-- /packages -->")
	}
	shown := map[string]bool{}
	for _, m := range picture.FindAllStringSubmatch(body, -1) {
		for _, name := range strings.Fields(m[1]) {
			shown[strings.Trim(name, "/")] = true
		}
	}
	there := map[string]bool{}
	for _, s := range sources(t) {
		dirs := strings.Split(s.dir, "/")
		dir := dirs[0]
		if dir == "cmd" { // whose commands are shown, not the directory
			dir += "/" + dirs[1]
		}
		if dir != "." && dir != "tools" {
			there[dir] = true
		}
	}
	for _, name := range files(t) {
		if strings.HasPrefix(name, "docs/") {
			there["docs"] = true
		}
	}
	for dir := range there {
		if !shown[dir] {
			t.Errorf("%s is not in the README's picture", dir)
		}
	}
	for dir := range shown {
		if !there[dir] {
			t.Errorf("the README's picture shows %s, which is not there", dir)
		}
	}
}
