package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

var footprintGroup = group{
	name:        "footprint",
	rounds:      3,
	experiments: footprintExperiments,
	comparisons: []comparison{
		{what: "private memory of a child that waits, beyond an empty Go program's", ours: "more", against: "768 KiB", theirs: "768 KiB", ask: 1, unit: "KiB"},
		{what: "private memory of a child that waits", ours: "ready", against: "an empty Go program, executed again", theirs: "empty", unit: "KiB"},
		{ours: "ready", against: "Python Process, spawn", theirs: "python spawn", unit: "KiB"},
		{ours: "ready", against: "Python Process, fork", theirs: "python fork", unit: "KiB"},
	},
}

// footprintExperiments builds the two programs with which the tests of package process check the same.
func footprintExperiments(ctx context.Context) (_ []experiment, cleanUp func(), err error) {
	dir, err := os.MkdirTemp("", "bench-footprint-")
	if err != nil {
		return nil, nil, err
	}
	cleanUp = func() { os.RemoveAll(dir) }
	for _, name := range []string{"empty", "ready"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-C", "..", "-o", filepath.Join(dir, name), "./process/testdata/"+name)
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			cleanUp()
			return nil, nil, fmt.Errorf("go build: %w", err)
		}
	}
	return []experiment{
		{"memory", func(ctx context.Context) (figures, error) {
			empty, err := leastPrivate(ctx, filepath.Join(dir, "empty"))
			if err != nil {
				return nil, err
			}
			ready, err := leastPrivate(ctx, filepath.Join(dir, "ready"))
			return figures{"empty": empty, "ready": ready, "more": ready - empty, "768 KiB": 768}, err
		}},
		python("footprint.py"),
	}, cleanUp, nil
}

// leastPrivate is the least of three: the collector, or a thread more, may have taken some once.
func leastPrivate(ctx context.Context, program string) (kib float64, err error) {
	for i := range 3 {
		found, err := privateMemory(ctx, program)
		if err != nil {
			return 0, err
		}
		if i == 0 || found < kib {
			kib = found
		}
	}
	return kib, nil
}

// privateMemory runs a program that prints the process id of another one on its standard error and ends with its standard input,
// and returns what that other one has of memory for itself, in KiB.
func privateMemory(ctx context.Context, program string) (kib float64, err error) {
	cmd := exec.CommandContext(ctx, program)
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	out, err := cmd.StderrPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer cmd.Wait()
	defer in.Close()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return 0, err
	}
	pid := strings.TrimSpace(line)
	for !allAsleep(pid) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		time.Sleep(time.Millisecond)
	}
	rollup, err := os.ReadFile("/proc/" + pid + "/smaps_rollup")
	if err != nil {
		return 0, missing("the kernel does not tell: " + err.Error())
	}
	return privateKiB(rollup)
}

// allAsleep reports whether all threads of a process sleep.
func allAsleep(pid string) bool {
	stats, _ := filepath.Glob("/proc/" + pid + "/task/*/stat")
	for _, name := range stats {
		if stat, err := os.ReadFile(name); err == nil && !bytes.Contains(stat, []byte(") S ")) {
			return false
		}
	}
	return len(stats) > 0
}

// privateKiB adds the Private_ lines of an smaps_rollup.
func privateKiB(rollup []byte) (kib float64, err error) {
	for l := range bytes.Lines(rollup) {
		if f := strings.Fields(string(l)); len(f) == 3 && strings.HasPrefix(f[0], "Private_") {
			n, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				return 0, err
			}
			kib += n
		}
	}
	if kib == 0 {
		return 0, fmt.Errorf("no private memory in %.200q", rollup)
	}
	return kib, nil
}
