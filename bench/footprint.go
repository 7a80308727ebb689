package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/go-multiproc/multiproc/manager"
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
		{what: "1,000,000 small entries of a dict: the server's live heap", ours: "dict heap", against: "a Go map of the same", theirs: "map heap", ask: 2, unit: "MB"},
	},
}

// liveHeap is what the heap holds after a collection, in bytes.
func liveHeap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one finalised
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// dictHeap puts a million entries into a dict of a server in this process, and into a map.
func dictHeap(ctx context.Context) (figures, error) {
	const entries = 1_000_000
	dir, err := os.MkdirTemp("", "bench-heap-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		return nil, err
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() { served <- manager.Serve(l, manager.Options{}) }()
	m, err := manager.Connect(ctx, "unix", l.Addr().String(), manager.Options{})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	d, err := manager.NewDict[string, int](m)
	if err != nil {
		return nil, err
	}
	before := liveHeap()
	for first := 0; first < entries; first += 1000 {
		batch := make(map[string]int, 1000)
		for i := first; i < first+1000; i++ {
			batch[strconv.Itoa(i)] = i
		}
		if err := d.BatchSet(ctx, batch); err != nil {
			return nil, err
		}
	}
	found := figures{"dict heap": (liveHeap() - before) / 1e6}
	if n, err := d.Len(ctx); err != nil || n != entries {
		return nil, fmt.Errorf("%d entries: %w", n, err)
	}
	if err := m.Shutdown(ctx); err != nil {
		return nil, err
	}
	<-served
	before = liveHeap()
	plain := map[string]int{}
	for i := range entries {
		plain[strconv.Itoa(i)] = i
	}
	found["map heap"] = (liveHeap() - before) / 1e6
	runtime.KeepAlive(plain)
	return found, nil
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
		{"heap of a dict", dictHeap},
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
