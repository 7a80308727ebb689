package store

import (
	"context"
	"fmt"
	"slices"
)

// A lease is the right to change one key of a dict, held by one session while its
// client computes the new value. Readers go on and see the old value; other writers of
// the key queue up, first come, first served. Plain writers queue as well when they find
// the key leased: they take the lease for the moment of the write, with no session.
type lease struct {
	dict *Dict
	key  string
}

// A leaseQueue stands in Dict.leases while its key is leased.
type leaseQueue struct {
	holder  *lease
	waiting []*leaseWaiter
}

type leaseWaiter struct {
	lease   *lease
	granted chan struct{} // closed, under the dict's lock, when the lease is ours
}

// acquire returns a lease on key once nobody else holds one, with d.mu held.
// On error d.mu is not held.
func (d *Dict) acquire(ctx context.Context, key []byte) (*lease, error) {
	d.lock()
	l := &lease{d, string(key)}
	q := d.leases[l.key]
	if q == nil {
		d.leases[l.key] = &leaseQueue{holder: l}
		return l, nil
	}
	if ctx.Err() != nil {
		d.mu.Unlock()
		return nil, context.Cause(ctx)
	}
	w := &leaseWaiter{l, make(chan struct{})}
	q.waiting = append(q.waiting, w)
	d.mu.Unlock()
	select {
	case <-w.granted:
		d.lock()
		return l, nil
	case <-ctx.Done():
	}
	d.lock()
	defer d.mu.Unlock()
	select {
	case <-w.granted: // at the last moment: pass it on
		d.giveBackLocked(l)
	default:
		q := d.leases[l.key]
		q.waiting = slices.DeleteFunc(q.waiting, func(x *leaseWaiter) bool { return x == w })
	}
	return nil, context.Cause(ctx)
}

func (d *Dict) giveBack(l *lease) {
	d.lock()
	defer d.mu.Unlock()
	d.giveBackLocked(l)
}

// giveBackLocked hands the key to whoever has waited longest.
func (d *Dict) giveBackLocked(l *lease) {
	q := d.leases[l.key]
	if len(q.waiting) == 0 {
		delete(d.leases, l.key)
		d.lateLocked(l.key)
		return
	}
	next := q.waiting[0]
	q.waiting = slices.Delete(q.waiting, 0, 1)
	q.holder = next.lease
	close(next.granted)
}

// begin locks the dict for a change of key when nobody holds a lease on it. On error
// the dict is not locked.
func (d *Dict) begin(ctx context.Context, key []byte) error {
	d.lock()
	if len(d.leases) == 0 || d.leases[string(key)] == nil {
		return nil
	}
	d.mu.Unlock()
	l, err := d.acquire(ctx, key)
	if err != nil {
		return err
	}
	d.giveBackLocked(l) // the next one cannot do anything before we unlock
	return nil
}

// beginMany is begin for n keys.
func (d *Dict) beginMany(ctx context.Context, n int, key func(i int) []byte) error {
	d.lock()
	var mine *lease
	for {
		busy := -1
		for i := 0; i < n && len(d.leases) > 0; i++ {
			if q := d.leases[string(key(i))]; q != nil && q.holder != mine {
				busy = i
				break
			}
		}
		// Given back before any other is waited for: who holds one key and waits for
		// another deadlocks with whoever does the same the other way round. And if
		// there is none to wait for, the next holder cannot do anything before we unlock.
		if mine != nil {
			d.giveBackLocked(mine)
		}
		if busy < 0 {
			return nil
		}
		d.mu.Unlock()
		var err error
		if mine, err = d.acquire(ctx, key(busy)); err != nil {
			return err
		}
	}
}

// Lease waits until nobody else changes key, keeps others from it, and returns its
// value; ok is false if there is none. Commit or Abort ends the lease, and so does the end of the
// session. id is the front end's choice and names the lease; it must be free (ErrInvalid).
func (d *Dict) Lease(ctx context.Context, s *Session, key []byte, id uint64) (v Value, ok bool, err error) {
	l, err := d.acquire(ctx, key)
	if err != nil {
		return Value{}, false, err
	}
	defer d.mu.Unlock()
	if err := s.keepLease(id, l); err != nil {
		d.giveBackLocked(l)
		return Value{}, false, err
	}
	return d.getLocked(s, key)
}

// keepLease is called with the dict's lock held.
func (s *Session) keepLease(id uint64, l *lease) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return ErrEnded
	}
	if s.leases[id] != nil || s.claims[id] != nil {
		return fmt.Errorf("%w: lease %d is in use", ErrInvalid, id)
	}
	if err := s.stakeLocked(leaseBytes + len(l.key)); err != nil {
		return err
	}
	s.leases[id] = l
	return nil
}

func (s *Session) takeLease(id uint64) (*lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.leases[id]
	if l == nil {
		return nil, fmt.Errorf("%w: %d", ErrLease, id)
	}
	delete(s.leases, id)
	s.unstakeLocked(leaseBytes + len(l.key))
	return l, nil
}

// Commit gives the leased key its new value and ends the lease. After an error that is
// not ErrLease the lease is still held.
func (s *Session) Commit(id uint64, v Value) error {
	m, err := s.mention(v.Refs)
	if err != nil {
		return err
	}
	l, err := s.takeLease(id)
	if err != nil {
		return err
	}
	l.dict.lock()
	defer l.dict.mu.Unlock()
	l.dict.putLocked([]byte(l.key), v.Data, m)
	l.dict.giveBackLocked(l)
	return nil
}

// Abort ends whatever the session began under that id, as if it had not: a wait, with ErrCancelled; a lease, and leaves the
// key as it was; a lock, a permit or a message that it was granted.
func (s *Session) Abort(id uint64) error {
	if w, on := s.claimOf(id); w != nil {
		on.abort(w)
		return nil
	}
	l, err := s.takeLease(id)
	if err != nil {
		return err
	}
	l.dict.giveBack(l)
	return nil
}
