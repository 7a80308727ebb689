package tests_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/internal/scratch"
)

// programs finds the Go blocks of a page that are whole files.
var programs = regexp.MustCompile("(?ms)^```go\n(package .*?)^```$")

// documented returns the first program of a page of the repository that contains all of these.
func documented(t *testing.T, page string, contains ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", page))
	if err != nil {
		t.Fatal(err)
	}
next:
	for _, m := range programs.FindAllStringSubmatch(string(text), -1) {
		for _, c := range contains {
			if !strings.Contains(m[1], c) {
				continue next
			}
		}
		return m[1]
	}
	t.Fatalf("%s has no program with %q", page, contains)
	return ""
}

// A newcomer has a directory with nothing in it but these files, and has said go mod init and go get: but for this
// checkout, and without downloads.
type newcomer struct {
	t     *testing.T
	watch *tidy
	dir   string
}

func newNewcomer(t *testing.T, module string, files map[string]string) *newcomer {
	t.Helper()
	n := &newcomer{t, newTidy(t), t.TempDir()}
	scratch.Module(t, n.dir, module, "..")
	for name, content := range files {
		scratch.Write(t, filepath.Join(n.dir, name), content)
	}
	return n
}

// command prepares a command in the newcomer's directory.
func (n *newcomer) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(n.t.Context(), name, args...)
	cmd.Dir = n.dir
	cmd.Env = append(n.watch.env(), scratch.Env()...)
	return cmd
}

// build builds the newcomer's program.
func (n *newcomer) build() (program string) {
	n.t.Helper()
	program = filepath.Join(n.dir, "program")
	if out, err := n.command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		n.t.Fatalf("%v: %s", err, out)
	}
	return program
}

// Somebody pastes each program of the README into an empty directory and runs it. It prints what the comments behind
// its calls of Println promise, in which … stands for what varies.
func TestProgramsOfTheReadme(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	all := programs.FindAllStringSubmatch(string(text), -1)
	if len(all) < 2 {
		t.Fatalf("the README has %d programs", len(all))
	}
	promise := regexp.MustCompile(`(?m)^\tfmt\.Println\(.*\) +// (.*)$`)
	for i, m := range all {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			var want []string
			for _, line := range promise.FindAllStringSubmatch(m[1], -1) {
				want = append(want, strings.ReplaceAll(regexp.QuoteMeta(line[1]), "…", ".*"))
			}
			if want == nil {
				t.Fatal("the program does not say what it prints")
			}
			n := newNewcomer(t, "first", map[string]string{"main.go": m[1]})
			out, err := n.command("go", "run", ".").CombinedOutput()
			if err != nil || !regexp.MustCompile("^"+strings.Join(want, "\n")+"\n$").Match(out) {
				t.Errorf("the program printed %q (%v), the README promises %q", out, err, want)
			}
			n.watch.check(t)
		})
	}
}

// A program with cobra: the parent's command line is parsed, and the child's is not.
func TestCobraProgram(t *testing.T) {
	n := newNewcomer(t, "greet", map[string]string{"main.go": documented(t, "docs/processes.md", "spf13/cobra")})
	program := n.build()
	for _, test := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{"world"}, "hello, world false\n", 0},
		{[]string{"--loud", "world"}, "HELLO, WORLD false\n", 0},
		{[]string{"--nosuch", "world"}, "Error: unknown flag: --nosuch\n", 1},
		{nil, "Error: accepts 1 arg(s), received 0\n", 1},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			cmd := n.command(program, test.args...)
			out, _ := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != test.code || !strings.HasPrefix(string(out), test.want) || strings.Count(string(out), "Error") > 1 {
				t.Errorf("%v, %q; want code %d, %q", cmd.ProcessState, out, test.code, test.want)
			}
		})
	}
	n.watch.check(t)
}

// Tests of a package start children with one line in TestMain.
func TestTestsOfANewcomer(t *testing.T) {
	n := newNewcomer(t, "counter", map[string]string{
		"counter.go":      "package counter\n",
		"counter_test.go": documented(t, "docs/processes.md", "testing.M"),
	})
	for _, args := range [][]string{{"-v"}, {"-v", "-count=3", "-cpu=1,2"}, {"-v", "-run=Increment", "-cover"}} {
		out, err := n.command("go", append([]string{"test"}, args...)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestIncrement") {
			t.Errorf("go test %q: %v: %s", args, err, out)
		}
	}
	n.watch.check(t)
}

// A library works in a program that begins with Init, or with Main, and says what is missing in one that does not.
func TestLibraryOfANewcomer(t *testing.T) {
	const library = `package thumbnails

import (
	"context"
	"fmt"

	"github.com/go-multiproc/multiproc/process"
)

var shrink = process.Register(func(_ context.Context, name string) error {
	fmt.Println("shrinking", name)
	return nil
})

// Make makes a thumbnail of a picture, in a process of its own. The program's main function has to begin with
// process.Main or process.Init.
func Make(name string) error {
	p := process.New(shrink, name)
	if err := p.Start(); err != nil {
		return fmt.Errorf("thumbnails: %w", err)
	}
	return p.Join(context.Background())
}
`
	program := documented(t, "docs/processes.md", "process.Init()", "thumbnails")
	without := strings.Replace(program, "process.Init()", "_ = process.Init", 1)
	twice := strings.Replace(program, "process.Init()", "process.Init(); process.Init()", 1)
	for _, test := range []struct {
		name, program, want string
		code                int
	}{
		{"Init", program, "shrinking cat.jpg\n", 0},
		{"Init twice", twice, "shrinking cat.jpg\n", 0},
		{"neither", without, "thumbnails: process: main has called neither process.Main nor process.Init", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNewcomer(t, "example.com/program", map[string]string{"main.go": test.program, "thumbnails/thumbnails.go": library})
			cmd := n.command(n.build())
			out, _ := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != test.code || !strings.HasPrefix(string(out), test.want) || strings.Count(string(out), "\n") != 1 {
				t.Errorf("%v, %q; want code %d, %q", cmd.ProcessState, out, test.code, test.want)
			}
			n.watch.check(t)
		})
	}
}
