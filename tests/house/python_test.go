package house_test

import (
	"bytes"
	_ "embed"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// pythonNames prints the public names of the Python that runs it.
//
//go:embed testdata/names.py
var pythonNames string

// word finds the names in a span of code.
var word = regexp.MustCompile(`\w+`)

// span finds code in a line of prose or a table.
var span = regexp.MustCompile("`[^`\n]+`")

// Every public name of Python's multiprocessing and concurrent.futures is in the section of its module in the page that says
// what to write for it here; methods may as well be in the first section. What there is to name is asked of the Python of this machine.
func TestPythonNamesAreAnswered(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3, which knows what names there are")
	}
	cmd := exec.Command(python, "-c", pythonNames)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}

	const page = "docs/from-python.md"
	sections := map[string]map[string]bool{} // module -> the words in its code
	for section := range strings.SplitSeq(read(t, page), "\n## ") {
		heading, body, _ := strings.Cut(section, "\n")
		words := map[string]bool{}
		for _, s := range span.FindAllString(body, -1) {
			for _, w := range word.FindAllString(s, -1) {
				words[w] = true
			}
		}
		for module := range strings.SplitSeq(heading, ", ") {
			sections[module] = words
		}
	}
	names := 0
	for line := range strings.Lines(string(out)) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		module, name, _ := strings.Cut(rest, " ")
		last := name[strings.LastIndex(name, ".")+1:]
		names++
		switch {
		case sections[module] == nil:
			t.Errorf("%s has no section for Python's module %s, with its name %s", page, module, name)
		case sections[module][last], kind == "method" && sections["multiprocessing"][last]:
		default:
			t.Errorf("%s says nothing of %s.%s", page, module, name)
		}
	}
	if names < 300 {
		t.Errorf("Python named %d things only", names)
	}
}
