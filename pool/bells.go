package pool

import (
	"time"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/mem"
)

// This file is what both ends do to the words of a board but the rings: whose a task is, and who sleeps. Each of them says that it is going to sleep and then looks once more, and the other writes and then looks
// whether somebody said so; of the two, one sees what the other has done. explore_test.go has every order of these steps.

// queue makes a task the worker's to begin. Its record follows.
func (b *board) queue(slot uint32, generation uint64) {
	b.states[slot].Store(stateWord(generation, queued))
}

// begin is the worker's. It reports whether the task is to be run: then nobody can take it back any more.
func (b *board) begin(slot uint32, generation uint64) bool {
	return b.states[slot].CompareAndSwap(stateWord(generation, queued), stateWord(generation, running))
}

// takeBack is the parent's. It reports whether the task had not begun: then it never will.
func (b *board) takeBack(slot uint32, generation uint64) bool {
	return b.states[slot].CompareAndSwap(stateWord(generation, queued), stateWord(generation, taken))
}

// awaitTask is the worker's, and returns when there may be a task, or a reason to end.
func (b *board) awaitTask(stopping func() bool) {
	waits := b.workerWaits
	waits.Store(1)
	crash.At("pool.worker.asleep")
	for !b.tasks.ready() && !stopping() && waits.Load() == 1 {
		mem.Mark("pool.asleep")
		mem.Wait(waits, 1, time.Hour) // who dies before it wakes us is the parent, and we with it
	}
	waits.Store(0)
}

// wantsBell reports, once, that the worker sleeps, or is about to. Whoever hears so rings, and may do so later.
func (b *board) wantsBell() bool { return b.workerWaits.CompareAndSwap(1, 0) }

// bell wakes the worker.
func (b *board) bell() {
	crash.At("pool.bell")
	mem.Wake(b.workerWaits, 1)
}

// ring is the worker's, and wakes who waits for results in the parent: with a frame, if that is the reader.
func (b *board) ring(frame func()) {
	waits := b.parentWaits
	switch {
	case waits.CompareAndSwap(callerSleeps, nobodySleeps):
		crash.At("pool.worker.calling")
		mem.Wake(waits, 1)
	case waits.CompareAndSwap(readerSleeps, nobodySleeps):
		crash.At("pool.worker.ringing")
		frame()
	}
}

// standDown is the parent's. It has the worker ring with a frame, and reports whether there is nothing to be taken, so that the frame is what to wait for.
func (b *board) standDown() bool {
	b.parentWaits.Store(readerSleeps)
	return !b.results.ready()
}

// awaitRoom is the worker's, and returns when there may be room for a result of n bytes.
func (b *board) awaitRoom(n int, ring func()) {
	full := b.workerFull
	full.Store(1)
	crash.At("pool.worker.full")
	for b.results.reserve(n) == nil && full.Load() == 1 {
		mem.Mark("pool.full")
		ring()
		mem.Wait(full, 1, time.Hour)
	}
	full.Store(0)
}

// madeRoom is the parent's, when it has released results.
func (b *board) madeRoom() {
	if b.workerFull.CompareAndSwap(1, 0) {
		mem.Wake(b.workerFull, 1)
	}
}
