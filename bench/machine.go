package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/bench/result"
)

func describeMachine(ctx context.Context, cpus int) result.Machine {
	m := result.Machine{CPU: cpuModel(), CPUs: cpus, Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		m.Kernel = unix.ByteSliceToString(uts.Sysname[:]) + " " + unix.ByteSliceToString(uts.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.MemoryMB = uint64(info.Totalram) * uint64(info.Unit) >> 20
		for i, load := range info.Loads {
			m.LoadAtStart[i] = float64(load) / (1 << 16)
		}
	}
	m.Python = firstLine(ctx, "python3", "--version")
	m.Redis = firstLine(ctx, "redis-server", "--version")
	before := cpuTimes()
	time.Sleep(time.Second)
	m.BusyAtStart = cpuTimes().since(before).busy()
	return m
}

func cpuModel() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for l := range bytes.Lines(b) {
			if key, v, ok := strings.Cut(string(l), ":"); ok && strings.TrimSpace(key) == "model name" {
				return strings.TrimSpace(v)
			}
		}
	}
	return "unknown, " + runtime.GOARCH
}

// firstLine is what a program says about itself, or "".
func firstLine(ctx context.Context, name string, arguments ...string) string {
	out, _ := exec.CommandContext(ctx, name, arguments...).Output()
	l, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(l)
}

// ticks are the CPU times of the machine since it was booted.
type ticks struct{ all, idle, stolen float64 }

// cpuTimes reads the first line of /proc/stat: user nice system idle iowait irq softirq steal (guest is in user).
func cpuTimes() ticks {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return ticks{}
	}
	return parseTicks(string(b))
}

func parseTicks(stat string) (t ticks) {
	first, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(first)
	for i, f := range fields {
		if i == 0 || i > 8 {
			continue
		}
		n, _ := strconv.ParseFloat(f, 64)
		t.all += n
		switch i {
		case 4, 5:
			t.idle += n
		case 8:
			t.stolen += n
		}
	}
	return t
}

func (t ticks) since(u ticks) ticks {
	return ticks{t.all - u.all, t.idle - u.idle, t.stolen - u.stolen}
}

func (t ticks) busy() float64 {
	if t.all <= 0 {
		return 0
	}
	return 1 - t.idle/t.all
}

// use is the CPU time that the machine has spent, and of it what this process and its descendants have had, living and dead.
type use struct {
	machine ticks
	ours    float64 // ticks
}

func cpuUse() use {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var all []processTicks
	for _, name := range stats {
		if b, err := os.ReadFile(name); err == nil { // else it has ended
			if p, ok := parseProcess(string(b)); ok {
				all = append(all, p)
			}
		}
	}
	return use{cpuTimes(), familyTicks(all, os.Getpid())}
}

// processTicks is the CPU time of a process, and of those of its children that it has waited for.
type processTicks struct {
	pid, parent int
	ticks       float64
}

// parseProcess reads /proc/PID/stat: pid (name) state ppid …, and as the 14th to 17th utime stime cutime cstime. A name may have blanks and brackets in it.
func parseProcess(stat string) (p processTicks, ok bool) {
	pid, _, _ := strings.Cut(stat, " ")
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return p, false
	}
	fields := strings.Fields(stat[end+1:]) // from the third on
	if len(fields) < 15 {
		return p, false
	}
	p.pid, _ = strconv.Atoi(pid)
	p.parent, _ = strconv.Atoi(fields[1])
	for _, f := range fields[11:15] {
		n, _ := strconv.ParseFloat(f, 64)
		p.ticks += n
	}
	return p, p.pid > 0
}

// familyTicks adds what a process and its descendants have had.
func familyTicks(all []processTicks, root int) (sum float64) {
	family := map[int]bool{root: true}
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if family[p.parent] && !family[p.pid] {
				family[p.pid], grown = true, true
			}
		}
	}
	for _, p := range all {
		if family[p.pid] {
			sum += p.ticks
		}
	}
	return sum
}

// others is the share of the machine's CPU time since before that neither was idle nor ours nor stolen.
func (u use) others(before use) float64 {
	d := u.machine.since(before.machine)
	if d.all <= 0 {
		return 0
	}
	return max(0, (d.all-d.idle-d.stolen-(u.ours-before.ours))/d.all)
}

func (t ticks) stolenShare() float64 {
	if t.all <= 0 {
		return 0
	}
	return t.stolen / t.all
}
