package process

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// A capture stands between a child and where its standard error goes: it passes on what comes, and keeps the last of it.
//
// It lives as long as anybody can write to it, which may be a grandchild long after the child. It does not outlive this process, and what the
// grandchild writes then fails.
//
// What it reads goes to pending, and from there on. Usually one goroutine does both in turn, so that a destination that is slow
// slows the child down, as it would without us. Only when the child has ended, the rest is read even if the destination takes nothing: it
// fits in the pipe, so that it is not much.
type capture struct {
	pipe *os.File
	raw  interface { // of pipe
		Read(func(fd uintptr) bool) error
		Control(func(fd uintptr)) error
	}

	mu         sync.Mutex
	tail       tail
	to         *os.File // nil if it cannot be written to any more
	pending    []byte   // read, and not yet written
	forwarding bool     // somebody writes
	read       int      // bytes
	written    int
	wrote      chan struct{} // closed, and replaced, when something was
}

// newCapture makes a capture, and the child's end of it, which the caller closes. to stays the caller's; nil is nowhere.
func newCapture(to *os.File) (*capture, *os.File, error) {
	r, w, err := capturePipe()
	if err != nil {
		return nil, nil, err
	}
	c := &capture{pipe: r, wrote: make(chan struct{})}
	if c.raw, err = r.SyscallConn(); err != nil {
		r.Close()
		w.Close()
		return nil, nil, err
	}
	if to != nil {
		if c.to, err = duplicate(to); err != nil {
			r.Close()
			w.Close()
			return nil, nil, fmt.Errorf("stderr of the child: %w", err)
		}
	}
	return c, w, nil
}

// duplicate returns a file that its owner's Close does not close.
func duplicate(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	ctlErr := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if ctlErr != nil {
		return nil, closedFile(ctlErr)
	}
	if err != nil {
		return nil, os.NewSyscallError("fcntl(F_DUPFD_CLOEXEC)", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// run passes on what comes, until nobody can write any more.
func (c *capture) run() {
	defer c.close()
	var buf [16 << 10]byte
	for {
		more := false
		err := c.raw.Read(func(fd uintptr) bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			n, again := c.readLocked(int(fd), buf[:])
			more = n > 0
			return !again
		})
		if err != nil || !more {
			return
		}
		c.forward()
	}
}

// readLocked takes what is there, without waiting for more. again says that there was nothing yet.
func (c *capture) readLocked(fd int, buf []byte) (n int, again bool) {
	for {
		n, err := unix.Read(fd, buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return 0, true
		case n <= 0 || err != nil:
			return 0, false
		}
		c.tail.add(buf[:n])
		c.pending = append(c.pending, buf[:n]...)
		c.read += n
		return n, false
	}
}

// forward writes what is pending. If somebody is at that already, it waits for him.
func (c *capture) forward() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.forwarding {
		wrote := c.wrote
		c.mu.Unlock()
		<-wrote
		c.mu.Lock()
	}
	c.forwarding = true
	for len(c.pending) > 0 {
		b, to := c.pending, c.to
		c.pending = nil
		c.mu.Unlock()
		failed := false
		if to != nil {
			_, err := to.Write(b)
			failed = err != nil
		}
		c.mu.Lock()
		if failed {
			c.to = nil // there is nobody to tell: it is where errors are told
			to.Close()
		}
		c.written += len(b)
		c.tellLocked()
	}
	c.forwarding = false
	c.tellLocked()
}

func (c *capture) tellLocked() {
	close(c.wrote)
	c.wrote = make(chan struct{})
}

// settle is called when the child has ended: it takes what the child has left in the pipe, and returns the last of all. It waits until that was
// passed on, but not for a destination that takes nothing, nor for others who can still write.
func (c *capture) settle() string {
	const patience = time.Second // with a destination, from one write to the next
	c.mu.Lock()
	c.raw.Control(func(fd uintptr) {
		left, err := unix.IoctlGetInt(int(fd), fionread)
		var buf [16 << 10]byte
		for err == nil && left > 0 {
			n, _ := c.readLocked(int(fd), buf[:min(left, len(buf))])
			if n == 0 {
				break
			}
			left -= n
		}
	})
	last, target := c.tail.String(), c.read
	c.mu.Unlock()
	go c.forward()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		c.mu.Lock()
		done, wrote := c.written >= target, c.wrote
		c.mu.Unlock()
		if done {
			return last
		}
		select {
		case <-wrote:
			timer.Reset(patience)
		case <-timer.C:
			return last
		}
	}
}

// close gives back what the system holds for c.
func (c *capture) close() {
	c.forward()
	c.pipe.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.to != nil {
		c.to.Close()
		c.to = nil
	}
}

// What is kept of a child's standard error.
const (
	tailBytes = 64 << 10
	tailLines = 40
)

// A tail is the end of a text.
type tail struct {
	b   []byte
	cut bool // something stood before
}

func (t *tail) add(b []byte) {
	if len(t.b)+len(b) > 2*tailBytes {
		keep := max(0, tailBytes-len(b))
		t.b = append(t.b[:0], t.b[max(0, len(t.b)-keep):]...)
		t.cut = true
	}
	t.b = append(t.b, b...)
}

func (t *tail) String() string {
	b, cut := t.b, t.cut
	if len(b) > tailBytes {
		b, cut = b[len(b)-tailBytes:], true
	}
	if cut {
		// No half lines, unless it is a single one.
		if i := bytes.IndexByte(b, '\n'); i >= 0 && i < len(b)-1 {
			b = b[i+1:]
		}
	}
	return string(b)
}

// withoutStacks cuts what the Go runtime writes of goroutines when it ends a program: many lines, which go to ExitError.Stack, and behind which those that somebody else
// wrote of the reason, a C library for one, would be out of sight.
func withoutStacks(s string) string {
	const goroutine = "\ngoroutine "
	end := -1
	for _, begin := range []string{"panic: ", "fatal error: ", "SIG", "runtime: "} {
		if strings.HasPrefix(s, begin) {
			end = max(end, 0)
		}
		end = max(end, strings.LastIndex(s, "\n"+begin))
	}
	if end < 0 {
		return s
	}
	at := strings.Index(s[end:], goroutine)
	if at < 0 {
		return s
	}
	return strings.TrimRight(s[:end+at], "\n") + "\n"
}

// lastLines cuts a text to its last n lines.
func lastLines(s string, n int) string {
	at := len(strings.TrimSuffix(s, "\n"))
	for ; n > 0; n-- {
		at = strings.LastIndexByte(s[:at], '\n')
		if at < 0 {
			return s
		}
	}
	return s[at+1:]
}

// lastLine is the last line of a text in which there is anything, if need be shortened.
func lastLine(s string) string {
	const most = 200
	s = strings.TrimRight(s, "\n\r\t ")
	s = strings.TrimSpace(s[strings.LastIndexByte(s, '\n')+1:])
	if len(s) <= most {
		return s
	}
	at := most
	for at > most-utf8.UTFMax && !utf8.RuneStart(s[at]) {
		at--
	}
	return s[:at] + "…"
}
