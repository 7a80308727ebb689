package tests_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// tidyMarker names the directory of a tidy in the environment of its processes.
const tidyMarker = "MULTIPROC_TIDY"

// A tidy watches a command for what it leaves behind: processes, entries of /dev/shm,
// temporary files.
type tidy struct {
	mark   string // stands in the environment of the command and of all its children
	tmp    string
	before map[string]bool
}

// newTidy looks at how things are before the command. Its env is for the command.
func newTidy(t *testing.T) *tidy {
	t.Helper()
	// Not t.TempDir, which would be long: addresses of Unix sockets end at 108 bytes.
	tmp, err := os.MkdirTemp("", "tidy")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	return &tidy{mark: tidyMarker + "=" + tmp, tmp: tmp, before: sharedMemoryNames(t)}
}

func (w *tidy) env() []string { return append(os.Environ(), w.mark, "TMPDIR="+w.tmp) }

// check fails for everything that is left. Children that end because their parent ended
// have a moment to do so.
func (w *tidy) check(t *testing.T) {
	t.Helper()
	// Tests of other packages, which run at the same time, have names of their own for a while, with their process id in them.
	var left, names []string
	for name := range sharedMemoryNames(t) {
		if !w.before[name] && !w.isOfOthers(name) {
			names = append(names, name)
		}
	}
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left = marked(t, w.mark)
		there := sharedMemoryNames(t)
		names = slices.DeleteFunc(names, func(name string) bool { return !there[name] })
		if len(left)+len(names) == 0 || time.Now().After(deadline) {
			break
		}
	}
	for _, p := range left {
		t.Errorf("a process is left: %s", p)
	}
	for _, name := range names {
		t.Errorf("left in /dev/shm: %s", name)
	}
	entries, err := os.ReadDir(w.tmp)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("a temporary file is left: %s", e.Name())
	}
}

// isOfOthers reports whether there is the process id of a living process in a name that is none of those that are watched.
func (w *tidy) isOfOthers(name string) bool {
	for _, pid := range regexp.MustCompile(`[0-9]+`).FindAllString(name, -1) {
		if env, err := os.ReadFile("/proc/" + pid + "/environ"); err == nil && !bytes.Contains(env, []byte(w.mark+"\x00")) {
			return true
		}
	}
	return false
}

func sharedMemoryNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	entries, err := os.ReadDir("/dev/shm")
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names[e.Name()] = true
	}
	return names
}

// marked lists the processes that were started with mark in their environment and that
// have not ended.
func marked(t *testing.T, mark string) (processes []string) {
	t.Helper()
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range environs {
		env, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(env, []byte(mark+"\x00")) { // gone, or somebody else's
			continue
		}
		dir := filepath.Dir(name)
		args, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		processes = append(processes, fmt.Sprintf("%s %s", filepath.Base(dir), strings.ReplaceAll(string(args), "\x00", " ")))
	}
	return processes
}
