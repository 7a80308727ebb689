// Package cond is the mechanism of psync.Cond: goroutines of any processes wait, in
// their order, until somebody signals one of them, or all.
//
// # Records
//
// Each process that has a Cond open has a record in its memory: its token, the number of
// its goroutines that wait, the number of those that were signalled and do not know
// yet, and an eventcount for them to sleep on; see [Record]. To wait is to be counted
// there, while the caller still has its lock; to signal is to find a record where
// somebody waits, and to move one from the one number to the other, which is one
// compare-and-swap. So a signal goes to a goroutine that waited when it was sent, and
// wakes that process and no other. Which goroutine of the process it is, the process
// decides for itself: the one that has waited longest.
//
// No lock is taken, and so none is held across a wait or by somebody who dies.
//
// A rejected design numbers the waiters, as sync.Cond does, and compares the numbers with
// a count of signals: then everybody has to look whether it was he who was meant, and
// the signal for a waiter that died before it was counted is lost. Another one, glibc's
// first, has waiters take signals off a common count: then one that came later takes
// the signal that was sent for those before.
//
// # Death
//
// A record outlives the waits of its process; when that dies, whoever waits finds it within
// a slice, wakes everybody, and frees the record. So it does not matter what a dead
// process had in its hands: a signal that it had got and not made use of, one that it was
// about to send, or a broadcast that was half done. They all look at what they wait
// for once more, as they may at any time.
package cond
