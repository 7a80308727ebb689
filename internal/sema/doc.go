// Package sema is a semaphore between processes whose permits come back from the
// dead.
//
// # The permits
//
// Each permit is a word of its own, a slot, which holds its owner's token, or 0 when
// the permit is free. One compare-and-swap takes a permit and says whose it is, and one
// gives it back, so there is no instant at which a permit is out and nobody has it: what
// a dead process had can be told from what a slow one has, to the last permit. (A
// counter would be simpler, and what is missing in it after a death is anybody's guess:
// that is the counting mode, for those who want to signal rather than to limit.)
//
// Slots stand in cache lines of their own as far as there are lines, and a process
// tries the slot first that it had last. So processes that come and go within the
// limit do not meet.
//
// # Waiting
//
// Who finds no permit waits on an eventcount, and looks for dead owners at the end of
// each slice. Newcomers may take a permit before those who wait, which keeps it in
// use while a waiter wakes up. A waiter that has been too late for some milliseconds
// puts its token into the hungry word: until it is served, or had a permit in front of
// it for a slice and did not take it, newcomers queue up.
//
// # Death
//
// A token in a slot whose process is dead is replaced by 0, and that is all there is to
// repair: what the permits guard is the user's to know. A wake-up that died with its
// waker costs the others one slice.
package sema
