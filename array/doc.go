// Package array provides many typed elements in shared memory: a table that
// several processes read and write, or look at as a plain slice.
//
// Processes that share an Array trust each other: any of them can write to its
// memory. Opening one by name checks what it is before it believes a byte.
//
// A process that dies takes nothing with it and leaves no half-written element
// behind, wherever in a Store or Add it is killed: the others see the old element
// or the new one. A process that dies in Do, or while it holds the guard (Mutex),
// leaves the guard abandoned, since nobody knows what else was to change: Do and
// Snapshot then return psync.ErrOwnerDied until Recover of the guard was called.
// Load, Store and Add go on.
//
// Close ends this process's hold. It waits for calls of Do in progress, and
// refuses while the guard is locked by Mutex().Lock. A slice that was kept reads
// zeros afterwards; using it never faults. An Array that becomes unreachable
// closes itself: keep it for as long as you use a slice of it.
//
//	prices, err := array.Create[float64]("prices", 1000)
//	…
//	prices.Store(7, 19.90)
//	for i, p := range prices.All() {
//		…
//	}
//
// The type T may be anything of fixed size without pointers; see package value,
// also for Python's type codes. Load, Store, Swap, CompareAndSwap and Add access
// one element as one step, of whatever size, and take no lock that a user sees.
// Slice is the memory itself, and Do gives it under the guard: their accesses are
// plain ones, which the single-element methods do not wait for.
//
// A named Array's file holds the elements from offset 0 on, as C, numpy and
// Python's struct lay them out:
//
//	shm = SharedMemory(name="prices", track=False)
//	prices = numpy.ndarray((1000,), "<f8", buffer=shm.buf)
//
// Before Python 3.13, leave out track and call
// resource_tracker.unregister("/prices", "shared_memory") after attaching: that
// Python deletes the segment when it exits otherwise. [Over] is the other way
// round: elements in memory that somebody else made.
//
// For one element use package value; for messages use queue; for something that
// grows, or holds strings, a manager's List; within one process, a slice.
//
// Arrays need Linux. Elsewhere the constructors return an error that is
// errors.ErrUnsupported.
package array
