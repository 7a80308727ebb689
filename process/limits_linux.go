package process

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/detector"
)

// checkSystem refuses what this process may not give its children. With credentials or namespaces of its own, the child may be allowed
// more or less, so that it is left to find out.
func (l Limits) checkSystem(attr *syscall.SysProcAttr) error {
	if attr != nil && (attr.Credential != nil || attr.Cloneflags&unix.CLONE_NEWUSER != 0 || len(attr.AmbientCaps) > 0) {
		return nil
	}
	if l.OpenFiles > 0 {
		var r unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err == nil && uint64(l.OpenFiles) > r.Max {
			if !capable(unix.CAP_SYS_RESOURCE) {
				return fmt.Errorf("Limits.OpenFiles is %d, this process may give at most %d (RLIMIT_NOFILE)", l.OpenFiles, r.Max)
			}
			if most, ok := nrOpen(); ok && uint64(l.OpenFiles) > most {
				return fmt.Errorf("Limits.OpenFiles is %d, the system allows at most %d (fs.nr_open)", l.OpenFiles, most)
			}
		}
	}
	if l.Nice < 0 {
		var r unix.Rlimit
		nice, err := niceValue(0)
		err = errors.Join(err, unix.Getrlimit(unix.RLIMIT_NICE, &r))
		target := max(nice+l.Nice, -20)
		if err == nil && target < nice && uint64(20-target) > r.Cur && !capable(unix.CAP_SYS_NICE) {
			return fmt.Errorf("Limits.Nice is %d, this process may not take precedence (RLIMIT_NICE, CAP_SYS_NICE)", l.Nice)
		}
	}
	return nil
}

// capable reports whether this process has a capability.
func capable(which uint) bool {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	return unix.Capget(&h, &d[0]) == nil && d[which/32].Effective&(1<<(which%32)) != 0
}

func nrOpen() (uint64, bool) {
	b, err := os.ReadFile("/proc/sys/fs/nr_open")
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

// apply sets the limits of this process, which is the child.
func (l Limits) apply(grace time.Duration) error {
	if l == (Limits{}) {
		return nil
	}
	// Nice comes before the descriptors, for it opens files.
	for _, limit := range []struct {
		field string
		given bool
		set   func() error
	}{
		{"Memory", l.Memory > 0, func() error { return limitMemory(l.Memory) }},
		{"CPU", l.CPU > 0, func() error { return limitCPU(l.cpuSeconds(grace)) }},
		{"Nice", l.Nice != 0, func() error { return addNice(l.Nice) }},
		{"OpenFiles", l.OpenFiles > 0, func() error { return limitOpenFiles(uint64(l.OpenFiles)) }},
	} {
		if !limit.given {
			continue
		}
		if err := limit.set(); err != nil {
			return fmt.Errorf("limit %s: %w", limit.field, err)
		}
	}
	return nil
}

// limitMemory gives this process n bytes beside what the runtime takes for itself.
//
// Three things see to that. The garbage collector is told (SetMemoryLimit), which works harder and harder. When what is in use is
// beyond the limit all the same, memoryGuard ends the process. The kernel's limit is for what these two cannot see: C code, and allocations
// that are faster than a collection. It is not the first line, because it cannot be placed exactly, and because it is no good end: a Go runtime
// that is refused memory says so if it was the program that asked for it; but if it was a table of its own, it may die of the nil
// pointer (the collector of Go 1.26 does), and a C library aborts when there is no room for a thread's stack.
func limitMemory(n int64) error {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	overhead := int64(m.Sys - m.HeapReleased - m.HeapInuse)
	limit := n + overhead
	if limit < n {
		return nil // more than there are numbers
	}
	if limit < debug.SetMemoryLimit(-1) {
		debug.SetMemoryLimit(limit)
	}
	newMemoryGuard(n, uint64(limit)).arm()

	// RLIMIT_AS would count reserved addresses too, of which a Go program of 20 MiB has more than a gigabyte.
	used, err := writableMemory()
	if err != nil {
		return err
	}
	used += roomAbove(uint64(n))
	return lowerLimit(unix.RLIMIT_DATA, used, used)
}

// roomAbove is how much of RLIMIT_DATA a process gets beyond what it has, so that it can use n bytes.
//
// Measured with Go 1.26 on Linux 6.18, amd64: a program has 40 MiB when main begins, of which 4 MiB are heap. Each byte of the heap's
// high-water mark takes 1.02 to 1.06, in steps of 4 MiB; what was freed stays counted, and as there is never a free piece
// where all of what is free would just fit, twice as much is the least that does no harm. A program with C code has thread stacks of
// usually 8 MiB each. The race detector takes 300 MiB to begin with, and 3.7 bytes for each byte of the heap, in steps of
// 160 MiB, and 140 KiB for each goroutine.
func roomAbove(n uint64) uint64 {
	room := 2*n + 64<<20
	if detector.Enabled {
		room = 8*n + 1<<30
	}
	if withForeignCode() {
		room += threadsToCome() * stackSize()
	}
	return room
}

// writableMemory returns how many bytes of private memory this process could write to, which is what RLIMIT_DATA counts.
func writableMemory() (uint64, error) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b))
	if len(f) < 6 {
		return 0, fmt.Errorf("/proc/self/statm has %d fields", len(f))
	}
	pages, err := strconv.ParseUint(f[5], 10, 64) // with the main thread's stack, some 100 KiB
	return pages * uint64(os.Getpagesize()), err
}

// withForeignCode reports whether the program has C code in it, whose threads have stacks of the C library.
func withForeignCode() bool {
	// The runtime does not say so otherwise: it refuses to do this for threads that it does not know.
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_GETPID, 0, 0, 0)
	return errno == syscall.ENOTSUP
}

// threadsToCome is how many threads the Go runtime may yet want: one per CPU that it uses, and those that wait in system calls, of
// which there are rarely more than a few.
func threadsToCome() uint64 {
	const waiting = 8
	have, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return waiting
	}
	return uint64(max(runtime.GOMAXPROCS(0)+waiting-len(have), waiting/2))
}

// stackSize is the size of the C library's thread stacks.
func stackSize() uint64 {
	const usual = 8 << 20
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_STACK, &r) != nil || r.Cur == unix.RLIM_INFINITY {
		return usual
	}
	return r.Cur
}

// limitCPU adds what was used before to the limits, in seconds.
func limitCPU(soft, hard uint64) error {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return os.NewSyscallError("getrusage", err)
	}
	used := uint64(time.Duration(u.Utime.Nano()+u.Stime.Nano()) / time.Second)
	return lowerLimit(unix.RLIMIT_CPU, used+soft, used+hard)
}

// lowerLimit sets a limit, but none that is higher than what is there.
func lowerLimit(resource int, soft, hard uint64) error {
	var r unix.Rlimit
	if err := unix.Getrlimit(resource, &r); err != nil {
		return os.NewSyscallError("getrlimit", err)
	}
	r.Cur, r.Max = min(soft, r.Cur), min(hard, r.Max)
	return os.NewSyscallError("setrlimit", unix.Setrlimit(resource, &r))
}

// limitOpenFiles sets both limits: the runtime of each Go program that this process starts raises the soft one to the hard one.
func limitOpenFiles(n uint64) error {
	return os.NewSyscallError("setrlimit", unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}))
}

// addNice changes the nice value of all threads of this process, which is what a process has of it on Linux: setpriority is for one
// thread, and a new thread has its creator's. So threads are gone through until all have it: then whoever creates another hands it on.
//
// What cannot be seen is a thread that is being made: the kernel copies the creator's value well before the new thread is in the list. So the
// world is stopped before the threads are looked at again, which is when the runtime has no thread half made: what makes one is not
// preempted meanwhile, or a P waits for the one that is made (newm and startm in the runtime's proc.go, Go 1.26). And they are looked at twice, because the list ends early where
// a thread ends that is just being listed (next_tid in fs/proc/base.c).
func addNice(n int) error {
	nice, err := niceValue(0)
	if err != nil {
		return err
	}
	nice = min(max(nice+n, -20), 19)
	for well := 0; well < 2; well++ {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, task := range tasks {
			tid, err := strconv.Atoi(task.Name())
			if err != nil {
				continue
			}
			if has, err := niceValue(tid); err == nil && has == nice || errors.Is(err, unix.ESRCH) {
				continue
			}
			if err := unix.Setpriority(unix.PRIO_PROCESS, tid, nice); err != nil && !errors.Is(err, unix.ESRCH) {
				return os.NewSyscallError("setpriority", err)
			}
			well = -1
		}
	}
	return nil
}

// niceValue returns a thread's nice value; 0 is the calling one.
func niceValue(tid int) (int, error) {
	n, err := unix.Getpriority(unix.PRIO_PROCESS, tid)
	if err != nil {
		return 0, os.NewSyscallError("getpriority", err)
	}
	return 20 - n, nil // the call itself returns no negative numbers
}

// memoryLimited reports whether this process has a limit of memory that children inherit.
func memoryLimited() bool {
	for _, resource := range []int{unix.RLIMIT_DATA, unix.RLIMIT_AS} {
		var r unix.Rlimit
		if unix.Getrlimit(resource, &r) == nil && r.Cur != unix.RLIM_INFINITY && r.Cur < math.MaxInt64 {
			return true
		}
	}
	return false
}
