package tests_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

// buildDemo builds cmd/demo once for all tests of this run.
var buildDemo = sync.OnceValues(func() (string, error) {
	name := filepath.Join(buildDir, "demo")
	if out, err := exec.Command("go", "build", "-o", name, "../cmd/demo").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return name, nil
})

// demo runs the demo and returns what it printed, and its exit code.
func demo(t *testing.T, watch *tidy, stdin []byte, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	name, err := buildDemo()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errs
	cmd.Env = watch.env()
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// The tour holds, one line per check, and leaves nothing behind.
func TestTour(t *testing.T) {
	watch := newTidy(t)
	stdout, stderr, code := demo(t, watch, nil)
	watch.check(t)
	t.Logf("%s%s", stdout, stderr)
	if code != 0 || stderr != "" {
		t.Errorf("exit code %d, standard error %q", code, stderr)
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	checks := lines[:len(lines)-1]
	for _, l := range checks {
		if !strings.HasPrefix(l, "ok ") {
			t.Errorf("not a check that held: %s", l)
		}
	}
	if want := fmt.Sprintf("%d of %d passed", len(checks), len(checks)); lines[len(lines)-1] != want {
		t.Errorf("the last line is %q, want %q", lines[len(lines)-1], want)
	}

	// Every demonstration of the list is on the tour.
	list, _, code := demo(t, watch, nil, "list")
	if code != 0 {
		t.Fatalf("demo list: exit code %d", code)
	}
	for l := range strings.Lines(list) {
		name := strings.Fields(l)[0]
		if !regexp.MustCompile(`(?m)^ok +` + name + ` `).MatchString(stdout) {
			t.Errorf("the tour does not show %s", name)
		}
	}
}

// What programs read is JSON, and a list that is empty is a list.
func TestDemoJSON(t *testing.T) {
	watch := newTidy(t)
	for _, command := range []string{"list", "ps"} { // not gc, which would remove what is not ours
		stdout, stderr, code := demo(t, watch, nil, command, "--json")
		var entries []map[string]any
		if err := json.Unmarshal([]byte(stdout), &entries); err != nil || code != 0 || stderr != "" || entries == nil {
			t.Errorf("%s: exit code %d, error %q, output %q, %v", command, code, stderr, stdout, err)
		}
		if command == "list" && (len(entries) < 20 || entries[0]["name"] != "start" || entries[0]["shows"] == "") {
			t.Errorf("list: %q", stdout)
		}
	}
	watch.check(t)
}

// Lists and helps fit in a terminal of 80 columns, and each help says what there is to see and where to read on.
func TestDemoHelp(t *testing.T) {
	watch := newTidy(t)
	list, _, code := demo(t, watch, nil, "list")
	if code != 0 {
		t.Fatalf("demo list: exit code %d", code)
	}
	fits := func(what, text string) {
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 {
				t.Errorf("%s has a line of %d columns: %s", what, n, line)
			}
		}
	}
	fits("demo list", list)
	names := []string{""}
	for l := range strings.Lines(list) {
		names = append(names, strings.Fields(l)[0])
	}
	for _, name := range names {
		help, stderr, code := demo(t, watch, nil, strings.Fields("help "+name)...)
		if code != 0 || stderr != "" {
			t.Errorf("demo help %s: exit code %d, error %q", name, code, stderr)
		}
		fits("demo help "+name, help)
		if name == "" {
			continue
		}
		if same, _, code := demo(t, watch, nil, name, "--help"); code != 0 || same != help {
			t.Errorf("demo %s --help: exit code %d, and not what demo help %s says: %q", name, code, name, same)
		}
		if first, _, _ := strings.Cut(help, "\n"); strings.HasPrefix(first, "Shows") || !strings.Contains(help, "cmd/demo/"+name+".go") {
			t.Errorf("demo help %s does not say what it does and where it stands: %q", name, help)
		}
	}
	watch.check(t)
}

// Shells can complete the commands, and the values of flags where there are some to choose from.
func TestDemoCompletes(t *testing.T) {
	watch := newTidy(t)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"completion", "bash"}, "bash completion"},
		{[]string{"__complete", "hun"}, "hundred\t"},
		{[]string{"__complete", "serve", "--mode", ""}, "prefork\n"},
	} {
		if stdout, _, code := demo(t, watch, nil, test.args...); code != 0 || !strings.Contains(stdout, test.want) {
			t.Errorf("%q: exit code %d, output %q", test.args, code, stdout)
		}
	}
	watch.check(t)
}

// What the demo does not understand is said, with exit code 2.
func TestDemoUsage(t *testing.T) {
	for _, args := range [][]string{
		{"nosuch"},
		{"--nosuch"},
		{"help", "nosuch"},
		{"help", "list", "superfluous"},
		{"start", "superfluous"},
		{"start", "--children=0"},
		{"hundred", "--processes=many"},
		{"logstats"},
		{"load"},
		{"load", "one", "two"},
		{"load", "--processes=0", "x"},
		{"logstats", "--workers=0", "x"},
		{"logstats", "--workers=many", "x"},
		{"serve", "--mode=thread"},
		{"serve", "--workers=0"},
		{"serve", "superfluous"},
		{"client", "one", "superfluous"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			stdout, stderr, code := demo(t, newTidy(t), nil, args...)
			if code != 2 || stdout != "" || !strings.HasPrefix(stderr, "demo: ") {
				t.Errorf("exit code %d, output %q, error %q; want 2 and a message", code, stdout, stderr)
			}
		})
	}
}

// Files that cannot be read are all named, before any work is done.
func TestLogstatsUnreadableFiles(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	writeLog(t, good, "10.0.0.1 x\n")
	missing, secret := filepath.Join(dir, "missing"), filepath.Join(dir, "secret")
	writeLog(t, secret, "10.0.0.1 x\n")
	if err := os.Chmod(secret, 0); err != nil {
		t.Fatal(err)
	}
	watch := newTidy(t)
	stdout, stderr, code := demo(t, watch, nil, "logstats", good, missing, dir)
	if code != 1 || stdout != "" || !strings.Contains(stderr, missing) || !strings.Contains(stderr, dir+" is a directory") {
		t.Errorf("exit code %d, output %q, error %q", code, stdout, stderr)
	}
	if os.Getuid() != 0 {
		if _, stderr, code := demo(t, watch, nil, "logstats", secret); code != 1 || !strings.Contains(stderr, secret) {
			t.Errorf("exit code %d, error %q", code, stderr)
		}
	}
	watch.check(t)
}

// logstats says what awk says, of every file, in the order of the arguments.
func TestLogstatsAgreesWithAwk(t *testing.T) {
	awk, err := exec.LookPath("awk")
	if err != nil {
		t.Skip("no awk")
	}
	dir := t.TempDir()
	logs := map[string]string{
		"empty":      "",
		"ordinary":   strings.Repeat("10.0.0.1 - a\n10.0.0.2 - b\n", 50_000),
		"crlf":       "10.0.0.1 - a\r\n\r\n10.0.0.2\r\n \r\n",
		"no-newline": "10.0.0.1 a\n10.0.0.2",
		"ipv6":       "2001:db8::1 a\n2001:db8:85a3:8d3:1319:8a2e:370:7348 b\n::1,::2 c\n",
		"not-utf8":   "\xff\xfe a\n\x80\xbf\n\xff\xfe,b\n",
		"long-line":  "10.0.0.1 " + strings.Repeat("x", 10<<20) + "\n" + strings.Repeat("y", 10<<20) + "\n10.0.0.2",
		"commas":     ",a\n,\n10.0.0.1,10.0.0.2\n",
		"blanks":     " \t \n\n\t10.0.0.1\t-\n",
	}
	var names []string
	for name, log := range logs {
		path := filepath.Join(dir, name)
		writeLog(t, path, log)
		names = append(names, path)
	}
	names = append(names, names[0]) // the same again is one more file

	watch := newTidy(t)
	stdout, stderr, code := demo(t, watch, nil, append([]string{"logstats", "--json", "--workers=3"}, names...)...)
	watch.check(t)
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, error %q", code, stderr)
	}
	var got struct {
		Files []struct {
			File            string
			Visits, Clients int
		}
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Files) != len(names) {
		t.Fatalf("%d files, want %d", len(got.Files), len(names))
	}
	for i, name := range names {
		cmd := exec.Command(awk, `{sub(/\r$/,"")} NF{n++;split($1,a,",");s[a[1]]} END{for(k in s)c++; print n+0, c+0}`, name)
		cmd.Env = append(os.Environ(), "LC_ALL=C")
		want, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		f := got.Files[i]
		if f.File != name {
			t.Errorf("file %d is %s, want %s", i, f.File, name)
		}
		if said := fmt.Sprintln(f.Visits, f.Clients); said != string(want) {
			t.Errorf("%s: logstats says %s awk says %s", filepath.Base(name), said, want)
		}
	}
}

// A pipe can be counted as well as a file: standard input, or what a shell substitutes.
func TestLogstatsReadsPipes(t *testing.T) {
	watch := newTidy(t)
	stdout, stderr, code := demo(t, watch, []byte("10.0.0.1 a\n10.0.0.2 b\n10.0.0.1 c\n"), "logstats", "--json", "/dev/stdin")
	watch.check(t)
	if want := `{"files":[{"file":"/dev/stdin","visits":3,"clients":2}]}` + "\n"; code != 0 || stdout != want {
		t.Errorf("exit code %d, error %q, output %q, want %q", code, stderr, stdout, want)
	}
}

// startEndless starts logstats on a named pipe to which nobody writes, which keeps its
// worker busy for ever. It returns when the worker is at work, with the worker's pid.
func startEndless(t *testing.T, watch *tidy, stderr io.Writer) (cmd *exec.Cmd, worker int) {
	t.Helper()
	name, err := buildDemo()
	if err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	cmd = exec.CommandContext(ctx, name, "logstats", fifo)
	cmd.Env, cmd.Stderr = watch.env(), stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0) // waits for the demo to open it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	for ctx.Err() == nil {
		for _, p := range marked(t, watch.mark) {
			var pid int
			if fmt.Sscan(p, &pid); pid != cmd.Process.Pid {
				return cmd, pid
			}
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("no worker was started")
	return nil, 0
}

// When the demo is killed, or told to stop, while its workers are at work, they end too.
func TestLogstatsStopped(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			watch := newTidy(t)
			cmd, _ := startEndless(t, watch, nil)
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != signal {
				t.Errorf("the demo ended with %v, want %v", cmd.ProcessState, signal)
			}
			watch.check(t)
		})
	}
}

// When a worker is killed, logstats says which, and by what.
func TestLogstatsWorkerKilled(t *testing.T) {
	watch := newTidy(t)
	var stderr bytes.Buffer
	cmd, worker := startEndless(t, watch, &stderr)
	if err := syscall.Kill(worker, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("the demo ended with %v, want exit code 1", cmd.ProcessState)
	}
	for _, want := range []string{"logstats-1", fmt.Sprint(worker), "killed"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("error %q does not say %q", stderr.String(), want)
		}
	}
	watch.check(t)
}

func writeLog(t *testing.T, name, log string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(log), 0o666); err != nil {
		t.Fatal(err)
	}
}
