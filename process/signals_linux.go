package process

import (
	"bytes"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// handledByProgram reports whether the program has asked os/signal for sig. Our own handler must not be registered.
//
// os/signal does not tell, but the kernel can: the Go runtime has one thread for the signals that a program asked for,
// in which exactly these are unblocked, along with the few that report faults (runtime.ensureSigM). So if there is a thread that
// blocks sig and most others, but not SIGSEGV, nobody has asked for sig. (A thread of C code that wants no signals blocks SIGSEGV too, as
// do the runtime's own for a moment when they start.) Where that cannot be found out, the answer is no: a program that
// does not end when it is told to is the greater evil.
func handledByProgram(sig syscall.Signal) bool {
	paths, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(paths) == 0 {
		return false
	}
	for _, path := range paths {
		status, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended
		}
		if blocked, ok := blockedSignals(status); ok && isSignalThread(blocked) && blocked&bit(sig) != 0 {
			return false
		}
	}
	return true
}

func isSignalThread(blocked uint64) bool {
	const most = 16
	return blocked&bit(syscall.SIGSEGV) == 0 && bits.OnesCount64(blocked) >= most
}

func bit(sig syscall.Signal) uint64 { return 1 << (sig - 1) }

// blockedSignals reads the SigBlk line of a thread's status.
func blockedSignals(status []byte) (uint64, bool) {
	_, rest, ok := bytes.Cut(status, []byte("\nSigBlk:"))
	if !ok {
		return 0, false
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	mask, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 64)
	return mask, err == nil
}

// signalledByTerminal reports whether a Ctrl-C that reached this process has reached a child as well: the terminal sends it to its whole
// foreground group.
func signalledByTerminal(pid int) bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	foreground, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	if err != nil || foreground != unix.Getpgrp() {
		return false
	}
	group, err := unix.Getpgid(pid)
	return err == nil && group == foreground
}
