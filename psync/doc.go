// Package psync is package sync across processes.
//
// The objects live in shared memory. Processes that share one trust each other:
// any of them can corrupt it. Robust is not secure; between processes that do
// not trust each other, use package pipe or manager, which copy.
//
// [Mutex] and [RWMutex] are locks, [RMutex] one that its owner may take again; [Semaphore]
// limits how many do something at a time. [Event], [Cond] and [Barrier] let goroutines of
// several processes wait for each other, and [Once] has one of them do what all need.
//
// A process that dies does not take a lock with it. The kernel tells the others
// that the holder is gone, with certainty and within milliseconds; a holder that
// is merely stopped or slow keeps its lock for as long as it likes. What the dead
// one was changing may be half done, so the lock becomes abandoned: Lock returns
// [ErrOwnerDied], without holding the lock, to everybody, until somebody calls
// Recover, or LockOrRecover, with a function that repairs what the lock guards. An
// operator can take a named lock away from a holder that lives: see [ForceUnlock].
//
// What is no lock has nothing to repair: permits of a dead process come back, one that
// read under an RWMutex has changed nothing, a Barrier that has lost a party breaks, those who wait on a Cond look again, a Once is run by the
// next. Each type's documentation says what a death does to it.
//
// Close ends this process's hold on an object, which other processes keep. An
// object that becomes unreachable closes itself. (If its process holds it then, it
// is abandoned: nobody could unlock it any more.)
//
//	mu, err := psync.NewMutex()
//	…
//	if err := mu.LockOrRecover(ctx, rebuildIndex); err != nil {
//		return err
//	}
//	defer mu.Unlock()
//
// Each object has a segment of its own, unless it is placed in a segment of the
// caller's, so that several objects and what they guard are one mapping, one name and
// one thing to pass on: [MutexAt] and its like join the object that stands at an
// offset. They make it if the bytes there are zero, as in a new segment, in one step
// that does not care who comes first; every process simply makes the same calls. Where
// something else stands, they return an error that is shm.ErrType. A placed object has
// a hold of its own on the segment: either can be closed first. Closing it leaves what
// it is to the other processes, and to this one, where the next call joins it again.
// Its bytes are its for as long as the segment is open.
//
//	s, err := shm.OpenOrCreate("index", psync.MutexSize+size)
//	…
//	mu, err := psync.MutexAt(s, 0)
//	data := s.Bytes()[psync.MutexSize:]
//
// All types are safe for use by any number of goroutines and processes. They can
// stand anywhere in the arguments of a child process and in what is sent through
// a pipe; named ones can be opened by processes that are not related. None of
// them may be copied; they are used through pointers. Within one process, package
// sync is much faster. For a lock that shell scripts or programs in other
// languages take part in, use [FileLock].
//
// All but FileLock need Linux. Elsewhere the constructors return an error that is
// errors.ErrUnsupported.
package psync
