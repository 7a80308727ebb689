package process

import (
	"bytes"
	"math/bits"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/sys"
)

// A witness finds out whether the program itself has asked os/signal for a signal.
//
// os/signal does not tell, but it can be seen. The Go runtime has a thread in which exactly the signals are
// unblocked that anybody asked for, along with those that it needs itself (runtime.ensureSigM). It wakes that
// thread up when a signal is asked for by a first and given up by a last one, and only then. So we give the signal
// up, and if the kernel has not run the thread meanwhile, somebody else has asked for it. Then we ask and give up
// again, several times, because the thread may run for other reasons; not to have run even once is the proof.
//
// Its signal mask does not tell, although it is what the thread is there for: the runtime never blocks SIGINT and SIGTERM, which would
// end the program by default. Nor do the masks of the process: the runtime has a handler for each signal from the beginning.
//
// Where that cannot be found out, the answer is no: a program that does not end when it is told to is the greater evil.
type witness struct {
	schedstat *os.File // of the thread: how often it ran
}

// newWitness prepares for the moment when a signal has arrived. A program may give up its handler as the first thing
// that this does, so that the answer must come quickly.
func newWitness() *witness {
	dir, ok := signalThread()
	if !ok {
		return &witness{}
	}
	f, err := os.Open(dir + "/schedstat")
	if err != nil {
		return &witness{}
	}
	return &witness{f}
}

// others reports whether there is a handler besides h, which it takes away, or the program ignores the signal. For a moment, a signal that nobody else handles
// kills the program.
func (w *witness) others(h *handler) bool {
	for i := 0; i < 3 && w.schedstat != nil; i++ {
		if i > 0 && !h.resume() {
			return true // in a way
		}
		before, ok := w.runs()
		signal.Stop(h.on)
		after, ok2 := w.runs()
		if !ok || !ok2 {
			return false
		}
		if before == after {
			return true
		}
	}
	signal.Stop(h.on)
	return false
}

func (w *witness) runs() (schedstat string, ok bool) {
	var b [128]byte
	n, _ := w.schedstat.ReadAt(b[:], 0)
	return string(b[:n]), n > 0
}

// signalThread returns the directory in /proc of the runtime's thread for signals. It is told by its mask: most
// signals are blocked, but not SIGSEGV (threads of C code that want no signals block that too, as do the runtime's
// own for a moment when they start). A program that had asked for nearly all signals before Main has none that
// looks like it.
func signalThread() (dir string, ok bool) {
	dirs, err := filepath.Glob("/proc/self/task/*")
	if err != nil || len(dirs) == 0 {
		return "", false
	}
	for _, dir := range dirs {
		status, err := os.ReadFile(dir + "/status")
		if err != nil {
			continue // the thread has ended
		}
		if blocked, ok := blockedSignals(status); ok && isSignalThread(blocked) {
			return dir, true
		}
	}
	return "", false
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

// signalledByTerminal reports whether a Ctrl-C that reached this process has reached a child as well: the terminal
// sends it to its whole foreground group.
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

// resetFully gives a signal its default action where os/signal gives it the runtime's, which is none.
func resetFully(sig syscall.Signal) { sys.DefaultSignal(sig) }
