//go:build linux

package process_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// buildProgram builds a program of testdata.
func buildProgram(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./testdata/"+name)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// A program that has not told its children what they are gets no children, and its children get none.
func TestNoMain(t *testing.T) {
	path := buildProgram(t, "nomain")
	for _, test := range []struct {
		name string
		env  []string
		want []string
	}{
		{"in the parent", nil, []string{"no main: process: main has called neither process.Main nor process.Init"}},
		{"in the child", []string{"CALL_INIT=1"}, []string{
			"no main: process: main has called neither", // the child, which tried to start one
			"start: <nil>",
			"join: process: Process-1 (pid ", ") exited with code 0: it ended without taking its job: main has to call process.Main, or process.Init, before it does anything else",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), path)
			cmd.Env = append(os.Environ(), test.env...)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			for _, want := range test.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("%s\nwant %q", out, want)
				}
			}
			if n := bytes.Count(out, []byte("no main:")); n != 1 {
				t.Errorf("%d processes found no Main:\n%s", n, out)
			}
		})
	}
}
