// Package rwlock is the lock for many readers or one writer, between processes,
// that survives the death of either.
//
// # The words
//
// Writers exclude each other by a lock word, as in package lock. Readers are counted
// where they are: each process has a slot, a word with its token and the number of its
// readers, so that a dead process's readers can be told from a slow one's and taken out
// with one compare-and-swap. (One count of all readers would be smaller, and nobody could
// say what is wrong with it after a death.) Between the two stands the gate, a word that
// is 0 while readers may come in. Only who holds the lock word changes it.
//
//	reader: count itself in its slot; look whether the gate is still open; if not, step back
//	writer: take the lock word; shut the gate; wait until the slots are empty
//
// Each says what it is about to do before it looks at the other, so they do not miss
// each other. A reader makes no system call, and shares the lines that it writes with its
// own process only.
//
// # Waiting
//
// Readers that find the gate shut wait on an eventcount, and note in their slot that
// they do. The writer waits for the slots on another, which a process's last reader
// notifies when it sees the gate shut. Nobody starves. A writer shuts the gate, so that
// readers who come after it wait. And before it shuts the gate, it waits until those
// readers have come in who were waiting when the writer before it opened: a process
// that was stopped meanwhile holds it up for some milliseconds, once. Readers who come
// while the gate is open are not waited for, so this ends. Writers among themselves are
// as fair as package lock.
//
// # Death
//
// While a writer shuts and opens the gate and waits for readers, it holds the lock word
// in the scoped mode: when it dies, the word is free, and a shut gate behind a free word
// is opened by whoever finds it. While the user's code is inside, it holds the word in the user
// mode, and its death abandons the lock; the gate stays shut until it is recovered. A
// reader's death abandons nothing, since it changed nothing: the writer who waits for it
// finds out at the end of a slice and empties the slot.
package rwlock
