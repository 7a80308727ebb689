package verify

import (
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// watched is how long a call that must block is looked at once it waits. A call that
	// stops waiting too late passes; one that must wait and does is never failed.
	watched = 20 * time.Millisecond
	// patience is how long a call that must come to wait, or to return, is waited for.
	patience = 30 * time.Second
	// between is the time from one look at a goroutine to the next.
	between = time.Millisecond
)

// A Call is a function that runs in a goroutine of its own. A test that acts upon a call that waits
// has to know that it does: that it has not returned yet may as well mean that it has not begun. Go
// tells where a goroutine is, and why it does not run, to who asks for all stacks.
type Call struct {
	done      chan error
	goroutine string // how its stack begins
}

// Begin calls f in a goroutine.
func Begin(f func() error) *Call {
	c := &Call{done: make(chan error, 1)}
	begun := make(chan string)
	go func() {
		b := make([]byte, 64)
		head, _, _ := strings.Cut(string(b[:runtime.Stack(b, false)]), "[")
		begun <- head // "goroutine 18 "
		c.done <- f()
	}()
	c.goroutine = <-begun
	return c
}

// Waits returns true when the call has come to wait for something that is not there, so that whoever
// makes it must wake the call; and false when it has returned instead. One that does neither fails t,
// which may be nil in a helper process: then it is false, too.
//
// What the library makes known to others when it waits, it makes known before it sleeps. A call that
// sleeps in the futex for slices of time counts as one that waits throughout.
func (c *Call) Waits(t testing.TB) bool {
	if t != nil {
		t.Helper()
	}
	return c.waits(t, between)
}

// waits is Waits for who wants two looks in a row, so far from each other, to find it waiting at one place. On its
// way there, it may wait for others at other places, but not for long.
func (c *Call) waits(t testing.TB, stay time.Duration) bool {
	if t != nil {
		t.Helper()
	}
	var at []string
	var since time.Time
	for begun := time.Now(); time.Since(begun) < patience; {
		next := between
		switch place, waiting := c.place(); {
		case !waiting: // it runs; or it looks around between two slices
		case !slices.Equal(place, at):
			at, since = place, time.Now()
			next = stay
		case time.Since(since) >= stay:
			return true
		}
		select {
		case err := <-c.done:
			c.done <- err // for Result
			return false
		case <-time.After(next): // nothing tells
		}
	}
	if t != nil {
		t.Fatalf("the call comes neither to wait nor to return:\n%s", c.stack())
	}
	return false
}

// Await waits for the call to return, however long that takes.
func (c *Call) Await() error {
	err := <-c.done
	c.done <- err // for whoever asks again
	return err
}

// Result is Await for a test, which fails when the call does not return.
func (c *Call) Result(t testing.TB, what string) error {
	t.Helper()
	select {
	case err := <-c.done:
		c.done <- err // for whoever asks again
		return err
	case <-time.After(patience):
		t.Fatalf("%s still waits:\n%s", what, c.stack())
		return nil
	}
}

// Blocks calls f in a goroutine, where it must come to wait and not return yet, and gives back the
// function that waits for its result.
func Blocks(t testing.TB, what string, f func() error) (wait func() error) {
	t.Helper()
	c := Begin(f)
	if !c.waits(t, watched) {
		t.Fatalf("%s returned %v; it must wait", what, <-c.done)
	}
	return func() error {
		t.Helper()
		return c.Result(t, what)
	}
}

// Waiters is how many goroutines of this process wait in a call of function, which is named as in
// a stack: "psync.(*Mutex).Lock".
func Waiters(function string) (n int) {
	for _, s := range stacks() {
		if state, frames := parse(s); waitsIn(state, frames) && slices.ContainsFunc(frames, func(f string) bool {
			return strings.HasSuffix(f, function+"(")
		}) {
			n++
		}
	}
	return n
}

// place says where the goroutine is, by its functions and lines, and whether it waits there.
func (c *Call) place() (frames []string, waiting bool) {
	state, frames := parse(c.stack())
	return frames, waitsIn(state, frames)
}

// stack is the goroutine's stack; "" when it has ended.
func (c *Call) stack() string {
	for _, s := range stacks() {
		if strings.HasPrefix(s, c.goroutine) {
			return s
		}
	}
	return ""
}

// stacks is the stacks of all goroutines, as Go prints them.
func stacks() []string {
	for n := 1 << 16; ; n *= 2 {
		b := make([]byte, n)
		if b = b[:runtime.Stack(b, true)]; len(b) < n {
			return strings.Split(string(b), "\n\n")
		}
	}
}

// parse takes a stack apart: "goroutine 18 [select, 2 minutes]:", and two lines for each call.
func parse(stack string) (state string, frames []string) {
	head, trace, _ := strings.Cut(stack, "\n")
	_, state, _ = strings.Cut(head, "[")
	for line := range strings.SplitSeq(strings.TrimSpace(trace), "\n") {
		if file, _, ok := strings.Cut(line, " +0x"); ok {
			line = file
		} else if i := strings.LastIndexByte(line, '('); i >= 0 {
			line = line[:i+1] // without the arguments, which another slice has others of
		}
		frames = append(frames, line)
	}
	return state, frames
}

// waitsIn reports whether a goroutine in that state waits for another, or for another process.
// States are what Go writes: "chan receive", "select, 2 minutes", "syscall, locked to thread".
func waitsIn(state string, frames []string) bool {
	state = strings.TrimRight(state, "]:")
	state, _, _ = strings.Cut(state, ",")
	state = strings.TrimSuffix(state, " (durable)")
	switch {
	case strings.HasPrefix(state, "chan "), strings.HasPrefix(state, "select"), strings.HasPrefix(state, "sync."):
		return true
	case state == "IO wait", state == "semacquire":
		return true
	case state == "syscall": // most of them come back at once
		return slices.ContainsFunc(frames, func(f string) bool {
			return strings.Contains(f, "/internal/sys.FutexWait") || strings.Contains(f, "/internal/sys.LockRange")
		})
	}
	return false
}
