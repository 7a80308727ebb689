// Package shm provides segments: memory that several processes map and share.
//
// Processes that share a segment trust each other: any of them can change every
// byte at any time. What is read when a segment is opened is checked before it
// is believed.
//
// A segment made by [New] is anonymous: the kernel frees it when the last process
// that has it is gone, however that ends, so nothing can be left behind, and
// nobody can change its size. A segment made by [Create] is a file in /dev/shm
// (or [Options.Dir]); it stays until [Remove], so that programs that are not
// related can meet there, by [Open], or [OpenOrCreate] whoever comes first. When all processes that used it were killed, [Reap]
// removes it, and only then: each process holds a kernel lock on every segment
// that it has open. [Inspect] tells who does, who holds what is in it, and who waits. All memory is taken at creation, so a full machine is an
// error there and not a crash later.
//
// [Segment.Close] ends this process's hold. A slice that was kept reads zeros
// from then on; using it never faults. A Segment that becomes unreachable closes
// itself.
//
//	s, err := shm.OpenOrCreate("frames", 1<<20)
//	…
//	copy(s.Bytes(), picture)
//
// For typed data use packages value and array, which are built on this one; for
// messages use queue or pipe. Use shm itself for a layout of your own, or, with
// [OpenRaw], to look at memory that a program in another language made.
//
// Segments need Linux. Elsewhere every constructor returns an error that is
// errors.ErrUnsupported.
package shm
