package process

import (
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// A crash file takes what the Go runtime writes of its end: a panic that nobody recovers, a fatal error, a signal that is one. The
// parent makes it, so that it can be read after a child that had no time for anything; the child tells the runtime of it with the
// initialisation of this package, so that it is there for that of all others.
//
// It is a memory file of a fixed size, of which pages exist that were written to: a trace of a hundred thousand goroutines must not
// cost a gigabyte, and its beginning is what matters. Parent and child share the open file and so its position, which tells how
// much was written. A pipe would need a reader as long as the child lives, and the control socket's buffer takes a few hundred of
// the small pieces that the runtime writes.

// crashSize is what is kept of a crash.
const crashSize = 64 << 10

// adoptCrashFile has the runtime write to the file that the parent made. A program that calls debug.SetCrashOutput itself takes
// that away from us.
func adoptCrashFile(fd int) {
	if fd < 0 {
		return
	}
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "crash")
	debug.SetCrashOutput(f, debug.CrashOptions{}) // which duplicates it; if it fails, there is nobody to tell
	f.Close()
}

// readCrashFile returns what was written to a crash file.
func readCrashFile(fd int) string {
	const current = 1
	n, err := unix.Seek(fd, 0, current)
	if err != nil || n <= 0 { // or there is no file
		return ""
	}
	b := make([]byte, min(n, crashSize))
	got, err := unix.Pread(fd, b, 0)
	if err != nil {
		return ""
	}
	return string(b[:got])
}

// A crash is what the Go runtime said of its end.
type crash struct {
	reason      string
	stack       string // of the goroutine that it is about, and of others as far as they were recorded
	panicked    bool   // else it is a fatal error, or a signal
	outOfMemory bool   // the system refused memory
	aborted     bool   // by C code
	collecting  bool   // in the garbage collector, or beside it
	inferred    bool   // reason is told from the stack
}

// parseCrash makes sense of what stands in a crash file. It begins with what is known of the reason, up to an empty line, and goes
// on with stacks. Of an empty file it makes nothing, nil.
//
// For a panic and a signal the reason is there. For a fatal error it is not: the runtime writes "fatal error: ..." before it
// begins to die, and only what comes after that goes to the file. But it leads the stack with the function that threw, and from
// that much can be told.
func parseCrash(text string) *crash {
	if text == "" {
		return nil
	}
	c := new(crash)
	head, stack := "", strings.TrimPrefix(text, "\n")
	if !isStack(stack) {
		head, stack, _ = strings.Cut(text, "\n\n")
	}
	c.stack = strings.TrimRight(stack, "\n")
	switch {
	case strings.HasPrefix(head, "panic: "+outOfMemoryText):
		// By memoryGuard, whose goroutine nobody wants to see.
		c.outOfMemory, c.stack = true, ""
		c.reason = strings.TrimPrefix(head, "panic: process: ")
	case strings.HasPrefix(head, "panic: "):
		c.panicked = true
		c.reason = unindent(strings.TrimPrefix(head, "panic: "))
	case strings.HasPrefix(head, "SIG"):
		c.reason = fatalSignal(head)
		c.aborted = strings.HasPrefix(head, "SIGABRT")
		c.collecting = c.reason == "SIGSEGV: segmentation violation" && onSystemStack(c.stack)
	case strings.HasPrefix(head, "[signal "):
		c.reason = "fatal error: fault: " + strings.TrimSuffix(strings.TrimPrefix(head, "[signal "), "]")
	case strings.HasPrefix(head, "fatal error: "): // no runtime does so today, but it would be right
		c.reason = unindent(head)
	default:
		c.inferred = true
		thrower := thrower(stack)
		c.outOfMemory = allocators[thrower]
		c.reason = fatalError(thrower, stack, c.outOfMemory)
	}
	return c
}

// readWording takes the wording of a fatal error from the end of standard error.
func (c *crash) readWording(stderr string) {
	if c == nil || !c.inferred {
		return
	}
	const begin = "fatal error: "
	at := strings.LastIndex("\n"+stderr, "\n"+begin)
	if at < 0 {
		return
	}
	c.reason = firstLine(stderr[at:])
	c.outOfMemory = c.outOfMemory || strings.Contains(c.reason, "out of memory") || strings.Contains(c.reason, "cannot allocate memory")
}

func isStack(s string) bool {
	return strings.HasPrefix(s, "goroutine ") || strings.HasPrefix(s, "runtime stack:")
}

// unindent takes back what the runtime does to lines after the first, so that nobody takes them for its own.
func unindent(s string) string { return strings.ReplaceAll(s, "\n\t", "\n") }

// fatalSignal is a reason like
//
//	SIGSEGV: segmentation violation
//	PC=0x408ace m=0 sigcode=0 addr=0x1bd6
func fatalSignal(head string) string {
	name, rest, _ := strings.Cut(head, "\n")
	for _, code := range []string{" sigcode=0", " sigcode=-1", " sigcode=-6"} { // SI_USER, SI_QUEUE, SI_TKILL
		if line, _, _ := strings.Cut(rest, "\n"); strings.HasSuffix(line, code) || strings.Contains(line, code+" ") {
			return name + ", sent by a process"
		}
	}
	return name
}

// onSystemStack reports whether a stack is one of the runtime's own, on which no code but its own runs, and that of the garbage collector above all.
func onSystemStack(stack string) bool {
	title, frames, _ := strings.Cut(stack, "\n")
	return strings.HasPrefix(title, "goroutine 0 ") && strings.HasPrefix(frames, "runtime.")
}

// thrower returns the function that found a fatal error, "" if none did.
func thrower(stack string) string {
	_, frames, _ := strings.Cut(stack, "\n")
	threw := false
	for line := range strings.Lines(frames) {
		if line == "\n" {
			break // the next stack
		}
		at := strings.LastIndexByte(line, '(')
		if at <= 0 || line[0] == '\t' || strings.HasPrefix(line, "created by ") {
			continue
		}
		name := line[:at]
		switch {
		case name == "runtime.throw" || strings.HasSuffix(name, ".throw") || strings.HasSuffix(name, ".fatal"):
			threw = true
			if name == "internal/runtime/maps.fatal" {
				return name // callers are the map's users: the runtime's own frames are left out
			}
		case threw:
			return name
		default:
			return ""
		}
	}
	return ""
}

// allocators are the functions of the runtime that throw because the system has refused memory. Each of them throws for other
// reasons, if any, that no program lives to see.
var allocators = map[string]bool{
	"runtime.sysMapOS":             true,
	"runtime.sysUsedOS":            true,
	"runtime.(*mheap).sysAlloc":    true,
	"runtime.persistentalloc1":     true,
	"runtime.newArenaMayUnlock":    true,
	"runtime.recordspan":           true,
	"runtime.stkbucket":            true,
	"runtime.getempty":             true,
	"runtime.(*mcache).refill":     true,
	"runtime.(*mcache).allocLarge": true,
	"runtime.(*pageAlloc).grow":    true,
	"runtime.(*pageAlloc).init":    true,
	"runtime.(*userArena).refill":  true,
	"runtime.stackalloc":           true,
	"runtime.stackpoolalloc":       true,
	"runtime.rawruneslice":         true,
}

// fatalError names a fatal error, as the runtime would where that can be known.
func fatalError(thrower, stack string, outOfMemory bool) string {
	const prefix = "fatal error: "
	switch {
	case outOfMemory:
		return prefix + "out of memory"
	case thrower == "runtime.newstack":
		return prefix + "stack overflow"
	case thrower == "internal/runtime/maps.fatal":
		return prefix + "concurrent use of a map, at least one a write"
	case thrower == "runtime.newosproc":
		return prefix + "the system refused a thread"
	case thrower == "runtime.sigpanic":
		return prefix + "fault"
	case thrower != "":
		return prefix + "in " + thrower + ", standard error has its text"
	case strings.HasPrefix(stack, "goroutine ") && !strings.Contains(firstLine(stack), "running"):
		return prefix + "all goroutines are asleep - deadlock!"
	}
	return "fatal error, standard error has its text"
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
