package tests_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Somebody pastes the README's first program into an empty directory and runs it.
func TestFirstProgramOfTheReadme(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?ms)^```go\n(package main\n.*?)^```$").FindSubmatch(readme)
	if m == nil {
		t.Fatal("the README has no program")
	}
	want := regexp.MustCompile(`fmt\.Println\(.*\) // (.*)\n`).FindSubmatch(m[1])
	if want == nil {
		t.Fatal("the README's program does not say what it prints")
	}

	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	// What `go mod init` and `go get` do, but for this checkout and without downloads.
	gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	_, requires, _ := strings.Cut(string(gomod), "\nrequire")
	gosum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	const module = "github.com/go-multiproc/multiproc"
	for name, content := range map[string]string{
		"main.go": string(m[1]),
		"go.mod":  fmt.Sprintf("module first\n\ngo 1.26.0\n\nrequire %s v0.0.0\n\nreplace %s => %s\n\nrequire%s", module, module, root, requires),
		"go.sum":  string(gosum),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	watch := newTidy(t)
	cmd := exec.CommandContext(t.Context(), "go", "run", ".")
	cmd.Dir = dir
	cmd.Env = append(watch.env(), "GOFLAGS=-mod=mod", "GOWORK=off", "GOPROXY=off")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != string(want[1]) {
		t.Errorf("the program printed %q (%v), the README promises %q", out, err, want[1])
	}
	watch.check(t)
}
