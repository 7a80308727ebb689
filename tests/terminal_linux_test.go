package tests_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal opens a pseudo terminal: what is written to tty can be read from master.
func openTerminal(t *testing.T) (master, tty *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 120}); err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return master, tty
}

// On a terminal logstats draws one bar per file, up to the end; the results stay alone on
// standard output. (That nothing is drawn in a pipe, the other tests check.)
func TestLogstatsDrawsOneBarPerFile(t *testing.T) {
	name, err := buildDemo()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	one, two, empty := filepath.Join(dir, "one.log"), filepath.Join(dir, "two.log"), filepath.Join(dir, "empty.log")
	writeLog(t, one, strings.Repeat("10.0.0.1 - a\n", 100_000))
	writeLog(t, two, strings.Repeat("10.0.0.2 - b\n", 200_000))
	writeLog(t, empty, "")

	master, tty := openTerminal(t)
	watch := newTidy(t)
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, "logstats", one, two, empty)
	cmd.Env = append(watch.env(), "TERM=xterm")
	cmd.Stdout, cmd.Stderr = &out, tty
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tty.Close() // so that the last writer is the demo, and the reader below sees the end
	drawn, _ := io.ReadAll(master)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, drawn)
	}
	watch.check(t)
	for _, file := range []string{"one.log", "two.log", "empty.log"} {
		if !bytes.Contains(drawn, []byte(file)) {
			t.Errorf("no bar for %s in %q", file, drawn)
		}
	}
	if n := bytes.Count(drawn, []byte("100 %")); n < 2 {
		t.Errorf("%d bars got to their end, want 2 or more times: %q", n, drawn)
	}
	if strings.ContainsRune(out.String(), '\x1b') || !strings.Contains(out.String(), "200000") {
		t.Errorf("standard output is %q", out.String())
	}
}
