package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
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

// use is the CPU time that the machine has spent, and of it what this process and those children that it has waited for have had.
type use struct {
	machine ticks
	ours    time.Duration
}

func cpuUse() use {
	u := use{machine: cpuTimes()}
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		if unix.Getrusage(who, &r) == nil {
			u.ours += time.Duration(r.Utime.Nano() + r.Stime.Nano())
		}
	}
	return u
}

// others is the share of the machine's CPU time since before that neither was idle nor ours nor stolen.
func (u use) others(before use) float64 {
	d := u.machine.since(before.machine)
	if d.all <= 0 {
		return 0
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on all that Go runs on
	ours := float64(u.ours-before.ours) / float64(tick)
	return max(0, (d.all-d.idle-d.stolen-ours)/d.all)
}

func (t ticks) stolenShare() float64 {
	if t.all <= 0 {
		return 0
	}
	return t.stolen / t.all
}
