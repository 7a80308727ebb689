package inspect

import (
	"sync"
	"time"

	"github.com/go-multiproc/multiproc/internal/seg"
)

// A Part is something in a segment that processes hold or wait for.
type Part struct {
	What      string // "mutex", "guard", "permits", …
	Offset    int    // of the object in the data of a caller's segment
	Owners    []Owner
	Words     []int // offsets in the file of the words that its waiters sleep on
	Abandoned bool  // its holder died, and nobody has recovered it
	Free, All int   // permits, messages, parties: how many are left, and of how many; 0, 0 if it has none

	// HeldSince and WaitedSince are when a waiter first saw the present hold, and when the
	// one began who has waited longest, as far as anybody has written it down. Zero: nobody has.
	HeldSince, WaitedSince time.Time

	// Lock says that it is a lock; Force takes that away from the holder that was seen, and is
	// nil if there is none.
	Lock  bool
	Force func() error
}

// An Owner holds a part, or some of it.
type Owner struct {
	Token uint64
	N     int // how often
}

// Owned adds to what the process with the token has of it.
func (p *Part) Owned(token uint64, n int) {
	for i := range p.Owners {
		if p.Owners[i].Token == token {
			p.Owners[i].N += n
			return
		}
	}
	p.Owners = append(p.Owners, Owner{token, n})
}

// A Describer says what is in a segment of its kind. It must not trust what it reads.
type Describer func(h *seg.Handle) []Part

var describers struct {
	sync.RWMutex
	of map[string]Describer
}

// Register says who describes segments of a kind. Packages call it when they are initialised.
func Register(kind string, d Describer) {
	describers.Lock()
	defer describers.Unlock()
	if describers.of == nil {
		describers.of = map[string]Describer{}
	}
	describers.of[kind] = d
}

// Describe says what is in a segment; nothing if its kind is not known in this program.
func Describe(h *seg.Handle) []Part {
	describers.RLock()
	d := describers.of[h.Kind()]
	describers.RUnlock()
	if d == nil {
		return nil
	}
	return d(h)
}
