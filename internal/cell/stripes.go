package cell

import (
	"context"
	"runtime"
	"sync"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// Stripes is one handle's access to elements that are no words. It is safe for
// use by goroutines and processes. After the handle was closed, it finds zeros.
type Stripes struct {
	h       *seg.Handle
	data    memory
	size    int
	stripes []stripe
	// local is for elements without stripes: then at least the goroutines of
	// this process exclude each other.
	local *sync.RWMutex
}

type stripe struct {
	lock   *lock.Mutex
	seq    *mem.Uint64
	index  *mem.Uint64
	shadow memory
}

// NewStripes makes the access that p describes; p is NewPlan's or ReadPlan's for
// the segment.
func NewStripes(h *seg.Handle, p Plan) *Stripes {
	s := &Stripes{h: h, data: memory(h.Data()), size: p.Size, stripes: make([]stripe, p.stripes)}
	meta, m := h.Meta(), h.Mapping()
	for i := range s.stripes {
		at := stripesOffset + i*p.stride
		s.stripes[i] = stripe{
			lock:   lock.Inner(h, at),
			seq:    m.Word(m.MetaOffset() + at + seqField),
			index:  m.Word(m.MetaOffset() + at + indexField),
			shadow: memory(meta[at+shadowOffset : at+p.stride]),
		}
	}
	return s
}

// newUnstriped makes access to elements in a segment that has no place for
// stripes. Nobody sees half of what this process writes within this process;
// other processes may.
func newUnstriped(h *seg.Handle, data []byte, size int) *Stripes {
	local := h.Mapping().Local(-1, func() any { return new(sync.RWMutex) }).(*sync.RWMutex)
	return &Stripes{h: h, data: data, size: size, local: local}
}

// of is the stripe of an element: neighbours have different ones.
func (s *Stripes) of(i int) *stripe { return &s.stripes[i&(len(s.stripes)-1)] }

// maxTries is how often a reader starts over before it takes the lock. A write
// is much longer than a read of the same element, so a reader fails that often
// only against several writers who keep the stripe busy.
const maxTries = 64

// Load fills dst, of the element's size, with element i.
//
// Preconditions: 0 <= i < count.
func (s *Stripes) Load(i int, dst []byte) {
	if s.local != nil {
		s.local.RLock()
		s.data.load(i*s.size, dst)
		s.local.RUnlock()
		runtime.KeepAlive(s)
		return
	}
	t := s.of(i)
	for range maxTries {
		if s.tryLoad(t, i, dst) {
			runtime.KeepAlive(s)
			return
		}
	}
	s.Replace(i, dst, nil, nil)
}

// tryLoad reads, and reports whether no writer came in between.
func (s *Stripes) tryLoad(t *stripe, i int, dst []byte) bool {
	seq := t.seq.Load()
	if seq&1 == 1 && t.index.Load() == uint64(i) {
		t.shadow.load(0, dst)
	} else {
		s.data.load(i*s.size, dst)
	}
	return t.seq.Load() == seq
}

// Store makes element i equal to src.
func (s *Stripes) Store(i int, src []byte) { s.Replace(i, nil, src, nil) }

// Replace fills cur, unless it is nil, with element i, and then, if next is not
// nil and when, unless that is nil, returns true, makes the element equal to
// next. All of that is one step to everybody else. when must not call anything
// that may take long, since it runs under the stripe's lock.
//
// Preconditions: 0 <= i < count; cur and next have the element's size.
func (s *Stripes) Replace(i int, cur, next []byte, when func() bool) {
	if s.local != nil {
		s.local.Lock()
		defer s.local.Unlock()
		if cur != nil {
			s.data.load(i*s.size, cur)
		}
		if next != nil && (when == nil || when()) {
			s.data.store(i*s.size, next)
		}
		runtime.KeepAlive(s)
		return
	}
	t := s.of(i)
	t.acquire()
	s.complete(t)
	if cur != nil {
		s.data.load(i*s.size, cur)
	}
	if next != nil && (when == nil || when()) {
		s.write(t, i, next)
	}
	// That this fails if the memory is gone meanwhile is no harm: whoever shares
	// it sees a dead holder.
	_ = t.lock.Unlock()
	runtime.KeepAlive(s)
}

// acquire takes the stripe's lock.
func (t *stripe) acquire() {
	ctx := context.Background()
	// Neither call fails but with ErrOwnerDied. No hold here is one of user code,
	// so that is an operator's or a broken peer's doing, and complete knows what
	// to do.
	for t.lock.Lock(ctx, lock.Scoped) != nil {
		if t.lock.LockOrRecover(ctx, lock.Scoped, nil) == nil {
			return
		}
	}
}

// complete finishes what a writer left that died with an odd number.
//
// Preconditions: the stripe's lock is held.
func (s *Stripes) complete(t *stripe) {
	seq := t.seq.Load()
	if seq&1 == 0 {
		return
	}
	// The index is checked like everything that is read from shared memory.
	if i := t.index.Load(); i < uint64(len(s.data)/s.size) {
		var some [256]byte
		for done := 0; done < s.size; done += len(some) {
			b := some[:min(len(some), s.size-done)]
			t.shadow.load(done, b)
			s.data.store(int(i)*s.size+done, b)
		}
	}
	crash.At("cell.completed")
	t.seq.Store(seq + 1)
}

// write makes element i equal to src.
//
// Preconditions: the stripe's lock is held; its number is even.
func (s *Stripes) write(t *stripe, i int, src []byte) {
	seq := t.seq.Load()
	t.index.Store(uint64(i))
	crash.At("cell.index")
	t.shadow.store(0, src)
	crash.At("cell.shadow")
	t.seq.Store(seq + 1)
	// From here on the write is done, whatever happens to this process.
	crash.At("cell.odd")
	s.data.store(i*s.size, src)
	crash.At("cell.data")
	t.seq.Store(seq + 2)
	crash.At("cell.even")
}
