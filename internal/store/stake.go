package store

import "fmt"

// A session's stakes are what it has begun, and not ended, that takes memory which is no object's: keys that it has leased, watches, snapshots, offers. They are
// bounded like its waits, so that no client costs more than its server allows by beginning things and never ending them.

// minStakes is how many bytes of these a session may have in any case.
const minStakes = 1 << 20

// What a stake takes beside its keys and the like, about.
const (
	leaseBytes    = 300
	offerBytes    = 300
	watchBytes    = 500
	watchKeyBytes = 64
	snapshotBytes = 300
	pinBytes      = 150 // for each object that a snapshot keeps
)

// stakeLocked counts one more, of so many bytes, or says why there may be none.
func (s *Session) stakeLocked(bytes int) error {
	if s.stakes >= maxClaims {
		return fmt.Errorf("%w: this connection has begun %d updates, watches, snapshots and offers of handles, and not ended them, which is all that it may", ErrOverload, s.stakes)
	}
	if limit := max(s.maxWaitBytes, minStakes); s.maxWaitBytes > 0 && s.stakes > 0 && s.stakeBytes+bytes > limit {
		return fmt.Errorf("%w: what this connection has begun and not ended, of updates, watches, snapshots and offers of handles, has so many bytes already that this one would exceed the server's Options.MaxBuffered, %d", ErrOverload, limit)
	}
	s.stakes++
	s.stakeBytes += bytes
	return nil
}

// unstakeLocked ends stakeLocked.
func (s *Session) unstakeLocked(bytes int) {
	s.stakes--
	s.stakeBytes -= bytes
}

// mayTake says why the session may not be given more messages, if so: of those that it was given it has not confirmed too much.
func (s *Session) mayTake() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if limit := max(s.maxWaitBytes, minStakes); s.maxWaitBytes > 0 && s.taken >= limit {
		return fmt.Errorf("%w: this connection has got messages of %d bytes, and not said that they have arrived, which is all that the server's Options.MaxBuffered allows", ErrOverload, s.taken)
	}
	return nil
}

// take counts messages that the session is given, and, negative, those that are confirmed or taken back.
func (s *Session) take(bytes int) {
	s.mu.Lock()
	s.taken += bytes
	s.mu.Unlock()
}
