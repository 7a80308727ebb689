package house_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// goBlock finds the Go code blocks of a Markdown text.
var goBlock = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

// Every Go block of the README and the guide compiles when it is pasted: a whole program
// as it stands, anything else as the body of a function with the packages it names imported.
func TestDocumentedGoCompiles(t *testing.T) {
	if testing.Short() {
		t.Skip("builds programs")
	}
	// One module holds every block as a package of its own, so that they are built in
	// one run of the go command.
	dir := t.TempDir()
	abs, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	blocks := 0
	for _, name := range []string{"README.md", "docs/guide.md", "CONTRIBUTING.md"} {
		for i, m := range goBlock.FindAllStringSubmatch(read(t, name), -1) {
			blocks++
			pkg := fmt.Sprintf("%s_%d", strings.ToLower(strings.NewReplacer("/", "_", ".", "_").Replace(name)), i+1)
			write(t, filepath.Join(dir, pkg, "main.go"), complete(m[1]))
		}
	}
	if blocks == 0 {
		t.Fatal("no Go block in the README: the first program is missing")
	}
	writeModule(t, dir, abs)
	cmd := exec.Command("go", "vet", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "GOPROXY=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("a code block does not compile: %v\n%s", err, out)
	}
}

// writeModule makes dir a module that uses the repository at abs, with its sums, so that
// nothing has to be downloaded.
func writeModule(t *testing.T, dir, abs string) {
	t.Helper()
	requires := read(t, "go.mod")
	_, requires, _ = strings.Cut(requires, "require")
	write(t, filepath.Join(dir, "go.mod"), fmt.Sprintf("module example.com/readme\n\ngo 1.26.0\n\nrequire %s v0.0.0\n\nreplace %s => %s\n\nrequire%s", module, module, abs, requires))
	write(t, filepath.Join(dir, "go.sum"), read(t, "go.sum"))
}

// complete makes a program of a code block that is not one.
func complete(block string) string {
	if strings.HasPrefix(block, "package ") {
		return block
	}
	known := map[string]string{
		"context": "context", "fmt": "fmt", "os": "os", "time": "time", "errors": "errors", "log": "log", "testing": "testing",
		"sync": "sync", "exec": "os/exec", "syscall": "syscall",
	}
	for _, names := range layers[1:9] {
		for _, name := range names {
			known[name] = module + "/" + name
		}
	}
	declares := regexp.MustCompile(`(?m)^(func|type|var|const) `).MatchString(block)
	program := block + ifNoMain(block)
	if !declares {
		program = "func example(ctx context.Context) error {\n" + block + "\nreturn nil\n}\n\nfunc main() { _ = example(context.Background()) }\n"
	}
	var imports strings.Builder
	for name, path := range known {
		if regexp.MustCompile(`(^|[^\w."])` + name + `\.[A-Z]`).MatchString(program) {
			fmt.Fprintf(&imports, "import %q\n", path)
		}
	}
	return "package main\n\n" + imports.String() + "\n" + program
}

func ifNoMain(block string) string {
	if strings.Contains(block, "func main()") {
		return ""
	}
	return "\nfunc main() {}\n"
}

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

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}
