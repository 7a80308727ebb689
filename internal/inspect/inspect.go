// Package inspect tells who uses a segment, from outside and without taking part: which
// processes have it open, under which tokens, and on which of its words they sleep.
//
// Nothing is recorded for it, so that it costs those it looks at nothing and is right
// about processes that were killed. It reads what the kernel shows in /proc: the
// token of a process in the list of locks of its descriptors, and the words that
// its threads sleep on in the arguments of their system calls. What a user may not
// see, other users' processes above all, and what is in another PID namespace, is
// missing.
package inspect

import "slices"

// A File is a segment's file, as stat(2) knows it.
type File struct{ Dev, Ino uint64 }

// A User is a process that has a segment open.
type User struct {
	PID     int
	Command string // name of its program, at most 15 bytes; see comm in proc(5)
	Token   uint64 // under which it owns things in the segment; 0 if it only maps it

	// Asleep has the offsets in the file of the words that its threads sleep on, sorted,
	// one for each thread.
	Asleep []int64
}

// SleepsIn reports whether a thread of the process sleeps on a word among the n bytes
// at off.
func (u User) SleepsIn(off int64, n int) bool {
	return slices.ContainsFunc(u.Asleep, func(at int64) bool { return at >= off && at < off+int64(n) })
}

// Users finds who uses the files, in one pass over all processes. Those of each file are in
// the order of their PIDs. The error is errors.ErrUnsupported where there is no /proc.
func Users(files ...File) (map[File][]User, error) { return users(files) }
