package store

import (
	"crypto/rand"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-multiproc/multiproc/internal/journal"
)

// An ID names an object within its store. IDs are never used again.
type ID uint64

// Options are a store's settings. The zero value works.
type Options struct {
	// OfferGrace is how long offers outlive the session that made them, for the sake of
	// a message that is still on its way. 0 = one minute.
	OfferGrace time.Duration

	// Limits bound what the store holds.
	Limits Limits
}

// A Store is a set of objects with counted references. Its methods are safe for
// concurrent use.
type Store struct {
	grace    time.Duration
	ledger   ledger
	graph    graph
	recovery time.Duration // what Open took

	waiting atomic.Int64 // operations in waitLists

	mu       sync.Mutex
	sessions map[*Session]struct{}
	timers   map[*time.Timer]struct{}
	closed   bool
}

// New returns an empty store.
func New(o Options) *Store {
	if o.OfferGrace == 0 {
		o.OfferGrace = time.Minute
	}
	st := &Store{
		grace:    o.OfferGrace,
		ledger:   ledger{limits: o.Limits},
		sessions: map[*Session]struct{}{},
		timers:   map[*time.Timer]struct{}{},
	}
	st.graph = newGraph(&st.ledger)
	return st
}

// A Token stands for a reference that is on its way from one session to another. Whoever
// knows it may claim the reference, once; it is random, so that nobody can guess it.
type Token [16]byte

func newToken() (t Token) {
	rand.Read(t[:]) // never fails: the program ends when the kernel has no randomness
	return t
}

// Stats is a store at one moment.
type Stats struct {
	Objects  map[Kind]int // live objects by kind
	Entries  int64        // of all containers
	Bytes    int64        // of their keys and values, without overhead
	Named    int          // objects that have a name
	Offers   int          // references on their way between sessions
	Sessions int          // that have not ended
	Leases   int          // keys that are being updated
	Memory   int64        // about what it all takes, in bytes
	Recovery time.Duration
	Journal  journal.Stats // zero if there is none
	Waiting  int           // operations that wait, other than for those
}

// Objects is how many objects there are, about: some may be garbage.
func (st *Store) Objects() int64 { return st.ledger.objects.Load() }

// Stats counts what there is. It takes time in proportion to the number of objects.
func (st *Store) Stats() Stats {
	s := Stats{Objects: map[Kind]int{}, Waiting: int(st.waiting.Load())}
	st.mu.Lock()
	s.Sessions = len(st.sessions)
	for session := range st.sessions {
		s.Leases += session.leaseCount()
	}
	st.mu.Unlock()
	st.graph.stats(&s)
	s.Memory, s.Recovery = st.ledger.bytes.Load(), st.recovery
	if st.ledger.journal != nil {
		s.Journal = st.ledger.journal.Stats()
	}
	return s
}

// Remove takes the name away. The object lives on while something else refers to it.
func (st *Store) Remove(name string) error {
	return st.graph.remove(name)
}

// Withdraw takes offers of the store's own back that nobody has claimed.
func (st *Store) Withdraw(tokens []Token) {
	for _, t := range tokens {
		st.graph.withdraw(t)
	}
}

// Close ends every session and frees every object. What the journal has stays there. It is safe to call twice.
func (st *Store) Close() error {
	st.mu.Lock()
	st.closed = true
	for t := range st.timers {
		t.Stop()
	}
	clear(st.timers)
	sessions := make([]*Session, 0, len(st.sessions))
	for s := range st.sessions {
		sessions = append(sessions, s)
	}
	st.mu.Unlock()
	for _, s := range sessions {
		s.End()
	}
	var err error
	if st.ledger.journal != nil {
		err = st.ledger.journal.Close() // first: a snapshot that is being made must not miss what goes now
	}
	st.graph.clear()
	return err
}

// withdrawLater drops offers whose session has ended once the grace is over.
func (st *Store) withdrawLater(tokens []Token) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(st.grace, func() {
		st.mu.Lock()
		delete(st.timers, t)
		st.mu.Unlock()
		for _, token := range tokens {
			st.graph.withdraw(token)
		}
	})
	st.timers[t] = struct{}{}
}
