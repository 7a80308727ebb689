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
// reference, and keep a dead owner "alive". ([Handle.Close] maps it for a moment,
// for just that reason.) A rejected design is the robust
// futex list of the kernel: it is per thread, belongs to libc, and may hand a
// lock on while sibling threads of the dead one still run.
const (
	lifeStart = 1 << 61 // behind every byte of data; the largest offset is 2^63-1
	lifeRange = 1 << 61 // more than there are tokens
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
		at := lifeStart + int64(t)
		ok, err := sys.TryLockRange(m.fd, at, 1)
		if err == nil && !ok {
			// Somebody has locked what he was not given. If that is not all there
			// is, the counter was set back (the file was restored in place, say):
			// that token is taken. If it is, it is a Reap, which lasts microseconds.
			if reap, err := sys.RangeLocked(m.fd, lifeStart+lifeRange-1, 1); err != nil || !reap {
				continue
			}
			err = sys.LockRange(m.fd, at, 1)
		}
		if err != nil {
			return fmt.Errorf("shm: file system without file locks? %w", err)
		}
		m.token = t
		return nil
	}
}

// Alive reports whether the process that was given the token t still has the
// segment open. A false is certain, and stays true for ever. The probe takes
// nothing, so that two who probe at once do not see each other.
//
// Preconditions: t is not m's own token, which m's own descriptor can not see.
func (m *Mapping) Alive(t uint64) bool {
	if alive, ok := simulated(t); ok {
		return alive
	}
	m.fdMu.RLock()
	defer m.fdMu.RUnlock()
	if m.fd < 0 { // somebody asks while the last handle closes
		return true
	}
	locked, err := sys.RangeLocked(m.fd, lifeStart+int64(t), 1)
	return locked || err != nil // who can not be asked must not be robbed
}

// TokenAt is the token whose lock is at off in a segment's file.
func TokenAt(off uint64) (token uint64, ok bool) {
	if off <= lifeStart || off > lifeStart+maxToken {
		return 0, false
	}
	return off - lifeStart, true
}
