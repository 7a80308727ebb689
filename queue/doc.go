// Package queue provides queues in shared memory: any number of producers and
// consumers, goroutines of whatever processes, put typed messages in and take them out.
//
// Processes that share a Queue trust each other: any of them can write to its memory.
// Opening one by name checks what it is before it believes a byte; positions and lengths
// in there are checked each time, so that damage is an error and never a crash.
//
// A process that dies at any instant, kill -9 included, leaves a message or no message, and
// no lock that anybody would wait for longer than some milliseconds. Get takes a
// message at most once: it is lost if the process dies before it has dealt with it. Lease
// takes it at least once: it is delivered again if the process dies before Ack. When Put
// has returned, the message is in shared memory, and needs nobody's thread to get there;
// so a process may exit at any time, and waits for nothing. One that is stopped keeps what it
// has: if it was in the middle of a Put or Get, the others wait until it goes on or is killed,
// and methods that do not wait return ErrBusy.
//
// Shutdown ends a Queue for everybody: getters get what is left, and then ErrClosed. Close
// ends this process's hold and leaves the messages where they are. A Queue that becomes
// unreachable closes itself. An anonymous Queue is gone with the last process that has it.
//
//	jobs, err := queue.New[Job](queue.Options{})
//	…
//	p := process.New(worker, jobs) // which calls jobs.Get
//	err = jobs.Put(ctx, Job{Path: "a.txt"})
//	…
//	err = jobs.Shutdown() // no more to come
//
// A type T of fixed size without pointers (see package value) goes as its bytes, a []byte as
// it is, and anything else as CBOR; Queue[[]byte] with Reserve and Lease copies nothing at all.
// A message takes some hundred nanoseconds from one process to another as long as both are
// awake, without a system call; who waits is put to sleep after some microseconds, and woken
// by the other side.
//
// Handles of this library, files and connections cannot be put in a queue, since a message may
// never be taken: send them through a pipe. For a conversation of two use package pipe; across
// machines, or for more than one container, a manager; within one process, a channel.
//
// Queues need Linux. Elsewhere the constructors return an error that is
// errors.ErrUnsupported.
package queue
