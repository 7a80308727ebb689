//go:build multiproc_explore

package explore

import (
	"runtime"
	"time"
	"unsafe"

	"github.com/go-multiproc/multiproc/internal/mem"
)

// The methods of mem.Scheduler follow. Whoever calls them is the thread that the
// search has resumed.

func (x *search) thread() *thread {
	if x.running == nil {
		panic("explore: a step on shared memory that no actor takes")
	}
	return x.running.cur
}

// offset is where p is in the shared memory.
//
// Safety: the addresses are compared and not followed.
func (x *search) offset(p unsafe.Pointer, n int) (int, bool) {
	base := uintptr(unsafe.Pointer(unsafe.SliceData(x.memory)))
	off := uintptr(p) - base
	return int(off), uintptr(p) >= base && off+uintptr(n) <= uintptr(len(x.memory))
}

func (x *search) word(w *mem.Uint64) int {
	off, ok := x.offset(unsafe.Pointer(w), 8)
	if !ok {
		panic("explore: a word outside the shared memory")
	}
	return off
}

// Word implements mem.Scheduler.
func (x *search) Word(op mem.Op, w *mem.Uint64, a, b uint64) uint64 {
	return x.thread().take(pending{kind: kindWord, op: op, at: x.word(w), a: a, b: b}).v
}

// Wait implements mem.Scheduler.
func (x *search) Wait(w *mem.Uint64, seen uint64, d time.Duration) mem.End {
	return mem.End(x.thread().take(pending{kind: kindWait, at: x.word(w), a: seen & (1<<32 - 1)}).v)
}

// Wake implements mem.Scheduler.
func (x *search) Wake(w *mem.Uint64, n int) int {
	return int(x.thread().take(pending{kind: kindWake, at: x.word(w), n: n}).v)
}

// Copy implements mem.Scheduler: in two steps, so that others see, and a death
// leaves, half of it.
func (x *search) Copy(dst, src []byte) {
	n := min(len(dst), len(src))
	if n == 0 {
		return
	}
	to, write := x.offset(unsafe.Pointer(unsafe.SliceData(dst)), n)
	from, read := x.offset(unsafe.Pointer(unsafe.SliceData(src)), n)
	if !write && !read {
		copy(dst, src)
		return
	}
	t := x.thread()
	for _, part := range [][2]int{{0, n / 2}, {n / 2, n}} {
		i, j := part[0], part[1]
		if i == j {
			continue
		}
		data := ""
		if read {
			data = t.take(pending{kind: kindRead, at: from + i, n: j - i}).b
		} else {
			data = string(src[i:j])
		}
		if write {
			t.take(pending{kind: kindWrite, at: to + i, data: data})
		} else {
			copy(dst[i:j], data)
		}
	}
}

// Mark implements mem.Scheduler.
func (x *search) Mark(label string, locals []uint64) {
	t := x.thread()
	in := t.in
	if t == in.main && !in.placed || in.many && in.digest == nil {
		return
	}
	k := key{2}
	if n := len(t.bases); n > 0 {
		k = t.bases[n-1]
	} else if t == in.main {
		k = in.outer
	}
	k.addString(label)
	for _, l := range locals {
		k.add(l)
	}
	var pcs [stackDepth]uintptr
	for _, pc := range pcs[:runtime.Callers(3, pcs[:])] {
		k.add(uint64(pc))
	}
	t.known = k
}

// Enter implements mem.Scheduler.
func (x *search) Enter() {
	t := x.thread()
	t.bases = append(t.bases, t.known)
}

// Leave implements mem.Scheduler.
func (x *search) Leave() {
	t := x.thread()
	if n := len(t.bases); n > 0 { // At may have come in between
		t.bases = t.bases[:n-1]
	}
}

// Until implements mem.Local.
func (x *search) Until(cond func() bool) {
	t := x.thread()
	if cond() {
		return
	}
	t.cond = cond
	t.take(pending{kind: kindLocal})
}

// Go implements mem.Local.
func (x *search) Go(f func()) {
	by := x.thread()
	t := by.in.start(f)
	t.known = by.known
	t.known.add(4)
	t.cond = func() bool { return true } // settle starts it
}

// Tick implements mem.Local.
func (x *search) Tick() { x.thread().take(pending{kind: kindStep}) }

// Elapsed implements mem.Local.
func (x *search) Elapsed() bool {
	if x.m.Patient {
		return false
	}
	return x.thread().take(pending{kind: kindChoose, n: 2, what: "time is up"}).v == 1
}

// Alive implements mem.Local.
func (x *search) Alive(token uint64) bool {
	return x.thread().take(pending{kind: kindAlive, a: token}).v == 1
}
