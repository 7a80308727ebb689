// Package value provides one typed value in shared memory: a counter, a flag, a
// struct of measurements that several processes read and write.
//
// Processes that share a Value trust each other: any of them can write to its
// memory. Opening one by name checks what it is before it believes a byte.
//
// A process that dies takes nothing with it and leaves no half-written value
// behind, wherever in a Store, Update or Add it is killed: the others see the old
// value or the new one. Only a process that dies while user code holds the guard
// (Mutex) leaves that abandoned: Update then returns psync.ErrOwnerDied until
// Recover of the guard was called, since nobody knows what else was to change
// together with the value. Load, Store and Add go on.
//
// Close ends this process's hold. It waits for calls of Update in progress, and
// refuses while the guard is locked by Mutex().Lock. A Value that becomes
// unreachable closes itself.
//
//	hits, err := value.New[int64](0)
//	…                                  // pass hits to child processes
//	value.Add(hits, 1)                 // in any of them
//	fmt.Println(hits.Load())
//
// The type T may be anything of fixed size without pointers, and of one byte at least:
// numbers, bools, arrays, structs of these; not strings, slices, maps. Every constructor
// checks that; its error names the field that is at fault, and is fs.ErrInvalid. int and uint are 64 bits wide.
// Python's type codes are c byte, u rune, b int8, B uint8, h int16, H uint16,
// i int32, I uint32, l and q int64, L and Q uint64, f float32, d float64.
//
// Every access is atomic, and ordered like package sync/atomic's. Types of 1, 2,
// 4 and 8 bytes take one processor instruction or a short loop. Others have a
// shadow copy, so that Load waits for nobody unless others write without a pause;
// writers exclude each other for the time it takes to copy. A writer that is
// stopped (SIGSTOP) in that instant holds up other writers, and no readers.
//
// A named Value's file holds the value at offset 0, so that stock Python reads
// and writes it:
//
//	shm = SharedMemory(name="hits", track=False)
//	hits, = struct.unpack_from("<q", shm.buf)
//
// Before Python 3.13, leave out track and call
// resource_tracker.unregister("/hits", "shared_memory") after attaching: that
// Python deletes the segment when it exits otherwise. Python's accesses are plain
// ones: of 8 aligned bytes or less they are whole; of more, either side may see
// half of what the other writes.
//
// For many values of one type use package array; for structures that grow, or
// hold strings, a manager's Dict; within one process, sync/atomic is faster.
//
// Values need Linux. Elsewhere the constructors return an error that is
// errors.ErrUnsupported.
package value
