//go:build linux

package process_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// A child that waits for a job takes little memory for itself, beyond what an empty Go program takes that is executed by itself, too. What all
// processes of a program share is not counted.
func TestMemoryOfReadyChild(t *testing.T) {
	const most = 768 // KiB
	least := func(name string) int {
		path := buildProgram(t, name)
		m := privateMemory(t, path)
		for range 2 { // the collector, or a thread more, may have taken some once
			m = min(m, privateMemory(t, path))
		}
		return m
	}
	empty, ready := least("empty"), least("ready")
	t.Logf("private memory: %d KiB, of an empty program %d KiB", ready, empty)
	if ready-empty > most {
		t.Errorf("a child that waits takes %d KiB of its own, an empty program %d KiB: %d KiB more, want at most %d", ready, empty, ready-empty, most)
	}
}

// privateMemory runs a program that prints the process id of another one on its standard error, and returns what that has of
// memory for itself, in KiB.
func privateMemory(t *testing.T, path string) (kib int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid := strings.TrimSpace(line)
	asleep(t, pid)
	rollup, err := os.ReadFile("/proc/" + pid + "/smaps_rollup")
	if err != nil {
		t.Skip(err)
	}
	for l := range strings.Lines(string(rollup)) {
		if f := strings.Fields(l); len(f) == 3 && strings.HasPrefix(f[0], "Private_") {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			kib += n
		}
	}
	if kib == 0 {
		t.Fatalf("smaps_rollup of %s: %s", pid, rollup)
	}
	return kib
}

// asleep waits until all threads of a process sleep.
func asleep(t *testing.T, pid string) {
	t.Helper()
	waitUntil(t, fmt.Sprintf("process %s sleeps", pid), func() bool {
		tasks, err := os.ReadDir("/proc/" + pid + "/task")
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			stat, err := os.ReadFile("/proc/" + pid + "/task/" + task.Name() + "/stat")
			if err == nil && !strings.Contains(string(stat), ") S ") {
				return false
			}
		}
		return true
	})
}
