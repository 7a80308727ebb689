// Package scratch makes modules that use this one, as those of its users do, for tests that build what the
// documentation says. It is for tests only.
package scratch

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const ours = "github.com/go-multiproc/multiproc"

// Module makes dir a module of that name that requires this one, in the checkout at root. With the environment of [Env] it is
// built without a download.
func Module(t testing.TB, dir, name, root string) {
	t.Helper()
	root, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	_, requires, _ := strings.Cut(string(gomod), "\nrequire")
	gosum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	Write(t, filepath.Join(dir, "go.mod"), fmt.Sprintf("module %s\n\ngo 1.26.0\n\nrequire %s v0.0.0\n\nreplace %s => %s\n\nrequire%s", name, ours, ours, root, requires))
	Write(t, filepath.Join(dir, "go.sum"), string(gosum))
}

// Env is what the go command needs in its environment for such a module.
func Env() []string { return []string{"GOFLAGS=-mod=mod", "GOWORK=off", "GOPROXY=off"} }

// Write writes a file, and makes its directory if there is none.
func Write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}
