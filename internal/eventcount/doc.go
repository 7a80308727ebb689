// Package eventcount lets goroutines of any process sleep until shared memory is as
// they want it: the sleeping half of every semaphore, condition and queue here.
//
// An eventcount (the name is Vyukov's and Folly's) knows nothing of the condition. Who
// waits announces himself in the count's word, looks at the condition once more, and
// sleeps unless the word has changed since. Who changes the condition does that first,
// and then looks whether somebody is announced; if nobody is, that look, one load, is
// all that it costs.
//
// # The word
//
//	bit  0      waiters: somebody may be asleep
//	bits 1-31   count of notifications that found the bit set
//	bits 32-63  count of announcements
//
// The kernel compares the low half. A notification changes it, so that who is about to
// sleep on what was before does not; an announcement changes the high half only, so
// that those who wait do not keep each other awake. The waiters bit is taken back by
// a notification that found nobody asleep, with a compare-and-swap that fails if
// anybody has announced himself since: a bit too many costs one system call, a bit too
// few would be a lost wake-up. Zero bytes are a count that is ready for use.
//
// # In a process
//
// One goroutine for each process and word, the leader, sleeps in futex(2), without a
// goroutine of its own: waking it is one switch of the scheduler less. So that the runtime
// does not take it for one that never ends, it has itself scheduled each 5 ms when it sleeps
// often. The others wait on channels. When the leader is through, the next one leads.
//
// # Death
//
// A process that is killed between its change and the wake-up, or with a wake-up in
// its hands, takes it along. So a sleep lasts for 5 to 25 ms, and who sleeps looks at the
// condition, and for what died, at the end of each. While all processes live and run,
// nothing needs a slice to end.
package eventcount
