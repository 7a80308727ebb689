//go:build multiproc_explore

package queue

import (
	"context"
	"math"
	"time"

	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// A sideLock is a word: 0, or twice the holder's token, and 1 if somebody waits.
type sideLock struct {
	w   *mem.Uint64
	m   *seg.Mapping
	off int
}

func sideAt(h *seg.Handle, off int) *sideLock {
	m := h.Mapping()
	return &sideLock{m.Word(m.MetaOffset() + off), m, off}
}

// try takes the lock if it is free, or its holder dead.
func (l *sideLock) try() (v uint64, ok bool) {
	v = l.w.Load()
	if v == 0 || v>>1 != l.m.Token() && !l.m.Alive(v>>1) {
		return v, l.w.CompareAndSwap(v, l.m.Token()<<1|v&1)
	}
	return v, false
}

func (l *sideLock) Lock(context.Context, lock.Mode) error {
	for {
		mem.Mark("side.lock")
		v, ok := l.try()
		if ok {
			return nil
		}
		if v != 0 && (v&1 != 0 || l.w.CompareAndSwap(v, v|1)) {
			mem.Mark("side.asleep", v|1)
			mem.Wait(l.w, v|1, time.Millisecond)
		}
	}
}

func (l *sideLock) TryLock(lock.Mode) (bool, error) {
	_, ok := l.try()
	return ok, nil
}

func (l *sideLock) Unlock() error {
	if l.w.Swap(0)&1 != 0 {
		mem.Wake(l.w, math.MaxInt32)
	}
	return nil
}

func (l *sideLock) HeldElsewhere() uint64 { return 0 }

func (l *sideLock) Drain()        {}
func (l *sideLock) HandleClosed() {}
func (l *sideLock) Offset() int   { return l.off }
