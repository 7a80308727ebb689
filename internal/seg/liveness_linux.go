package seg

import (
	"errors"
	"fmt"

	"github.com/go-multiproc/multiproc/internal/sys"
)

// Who is alive.
//
// Whatever is owned in a segment is owned by a token: a number from the counter
// in the segment's footer, which is never given out twice. A process keeps a
// kernel lock (an open file description lock on one byte far behind the end of
// the file) on its token for as long as it has the segment open. So "is the
// owner dead?" is a question to the kernel with a certain answer, without pids
// (reused, and different in every pid namespace), timeouts or heartbeats.
//
// The kernel drops the lock when the last reference to the description goes,
// which at a process's death is after the last of its threads is gone. Hence the
// rules: the description is the process's own (the file opened anew), and it is
// never dup'ed, inherited, sent, or mapped: each of these would be one more
// reference, and keep a dead owner "alive". A rejected design is the robust
// futex list of the kernel: it is per thread, belongs to libc, and may hand a
// lock on while sibling threads of the dead one still run.
const (
	lifeStart = 1 << 61 // behind every byte of data, below the largest offset
	lifeRange = 1 << 61 // up to the largest offset
	maxToken  = 1<<40 - 1

	// Locked while a file that has a name is being made, see unnamedFile.
	unfinished = lifeStart - 1
)

var errTokens = errors.New("shm: segment has been opened 2^40 times: make a new one")

// attach takes a token: locked first, and only then known to anybody.
func (m *Mapping) attach() error {
	counter := m.tokenCounter()
	for {
		t := counter.Add(1)
		if t == 0 || t > maxToken {
			return errTokens
		}
		ok, err := sys.TryLockRange(m.life, lifeStart+int64(t), 1)
		if err != nil {
			return fmt.Errorf("shm: file system without file locks? %w", err)
		}
		if ok {
			m.token = t
			return nil
		}
		// Somebody locked a token that he was not given: a broken peer, or a
		// Reap that is about to find us here. Leave it to him.
	}
}

// Alive reports whether the process that was given the token t still has the
// segment open. A false is certain, and stays true for ever. The probe takes
// nothing, so that two who probe at once do not see each other.
//
// Preconditions: t is not m's own token, which m's own descriptor can not see.
func (m *Mapping) Alive(t uint64) bool {
	locked, err := sys.RangeLocked(m.life, lifeStart+int64(t), 1)
	return locked || err != nil // who can not be asked must not be robbed
}
