package store

import (
	"fmt"
	"sync/atomic"

	"github.com/go-multiproc/multiproc/internal/journal"
)

// A ledger is what all objects of a store have in common: what they take, what they may take, and the journal in which changes are
// noted.
type ledger struct {
	limits  Limits
	journal *journal.Journal // nil if nothing is kept
	loading bool             // what is kept is being read, and nobody else knows of the store yet

	objects atomic.Int64
	entries atomic.Int64
	bytes   atomic.Int64 // in memory, about
}

// Limits bound what a store holds. Where one is 0 there is none.
type Limits struct {
	Objects int64 // that live at one time
	Entries int64 // of all containers together
	Bytes   int64 // that it all takes in memory, about
}

const (
	// objectBytes is about what an empty object takes.
	objectBytes = 640
	// EntryBytes is about what an entry takes at most, beyond its key and value.
	EntryBytes = entryBytes
	entryBytes = 80
	// itemBytes is the same for a value without a key.
	itemBytes = 28
)

// A Demand is what a change may add, at most.
type Demand struct {
	Objects, Entries, Bytes int64
	// Record is the size of what is noted in the journal.
	Record int64
}

// Admit refuses a change that would go beyond a limit (ErrLimit), or that the journal could not take (ErrJournal). Who was admitted calls Done with the same demand
// when the change is done, or will not be. No lock may be held. What is admitted at the same time may together go a little beyond a limit.
func (st *Store) Admit(d Demand) error { return st.ledger.admit(d) }

// Done ends what Admit began.
func (st *Store) Done(d Demand) { st.ledger.done(d) }

func (l *ledger) admit(d Demand) error {
	if err := l.limit(d); err != nil {
		return err
	}
	if l.journal != nil {
		if d.Record > journal.MaxRecord {
			return &LimitError{LimitRecord, 0, d.Record, journal.MaxRecord}
		}
		if err := l.journal.Admit(d.Record); err != nil {
			return fmt.Errorf("%w: %w", ErrJournal, err)
		}
	}
	return nil
}

func (l *ledger) done(d Demand) {
	if l.journal != nil && d.Record > 0 {
		l.journal.Done(d.Record)
	}
}

// limit refuses what goes beyond a limit.
func (l *ledger) limit(d Demand) error {
	for _, c := range [...]struct {
		limit      Limit
		wants, max int64
		has        *atomic.Int64
	}{
		{LimitObjects, d.Objects, l.limits.Objects, &l.objects},
		{LimitEntries, d.Entries, l.limits.Entries, &l.entries},
		{LimitBytes, d.Bytes, l.limits.Bytes, &l.bytes},
	} {
		if c.max > 0 && c.wants > 0 {
			if n := c.has.Load(); n+c.wants > c.max {
				return &LimitError{c.limit, n, c.wants, c.max}
			}
		}
	}
	return nil
}

// A Limit names one of the Limits.
type Limit int

// The limits.
const (
	LimitObjects Limit = iota
	LimitEntries
	LimitBytes
	LimitRecord // of one change, where there is a journal
)

// A LimitError says which limit a change would exceed. It is an ErrLimit.
type LimitError struct {
	Limit           Limit
	Has, Wants, Max int64
}

// Error says it in words.
func (e *LimitError) Error() string {
	what := [...]string{"objects", "entries", "bytes", "bytes of a record"}[e.Limit]
	return fmt.Sprintf("%v: %d %s, and at most %d more, where %d are allowed", ErrLimit, e.Has, what, e.Wants, e.Max)
}

// Is reports whether target is ErrLimit.
func (e *LimitError) Is(target error) bool { return target == ErrLimit }

// weigh keeps account of what a body takes. Its guard is held.
func (o *object) weigh(k kept) {
	entries, bytes := k.weight()
	bytes += o.base()
	if entries != o.entries.Load() {
		o.ledger.entries.Add(entries - o.entries.Swap(entries))
	}
	if bytes != o.bytes.Load() {
		o.ledger.bytes.Add(bytes - o.bytes.Swap(bytes))
	}
	// Its last holder may have let go of it at this moment. Whoever comes second strikes off what it took.
	if o.gone.Load() {
		o.strike()
	}
}

// base is what the object takes beside its content. What it is made of is its maker's choice, and may be long.
func (o *object) base() int64 { return objectBytes + int64(len(o.typ)) }

// strike takes an object that is freed off the account.
func (o *object) strike() {
	o.gone.Store(true)
	o.ledger.entries.Add(-o.entries.Swap(0))
	o.ledger.bytes.Add(-o.bytes.Swap(0))
}
