package seg

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edsrzf/mmap-go"
)

// A Spec is what an object asks of its segment.
type Spec struct {
	Kind  string // what the object is: "value", "mutex"; at most 16 bytes, not empty
	Type  string // canonical text of the element type; "" if it has none
	Count int    // number of elements, for Open to read back
	Data  int    // bytes at offset 0
	Meta  int    // bytes of bookkeeping, which start on a cache line

	// Sparse is how many bytes at the end of the data, whole pages, get no memory
	// yet; see [Mapping.Allocate]. Who touches them before may be killed for it.
	Sparse int

	// Init fills both areas, which are zero, before anybody else can see them.
	// It may be nil.
	Init func(data, meta []byte)
}

// Options say where named segments are. The zero value is the default.
type Options struct {
	Dir      string      // the directory; "" is /dev/shm
	Mode     fs.FileMode // Create: the permissions; 0 is 0600
	AnyOwner bool        // Open: accept a segment that another user owns
}

// A Handle is one hold of this process on a segment. It is safe for use by
// several goroutines. A handle that becomes unreachable closes itself.
type Handle struct {
	m       *Mapping
	name    string
	closed  atomic.Bool
	pkg     string // and object: see SetObject
	object  string
	cleanup runtime.Cleanup
	hold    *hold
}

// A hold is what a handle has of its mapping, which is given back also when the
// handle became unreachable.
type hold struct {
	m    *Mapping
	part *part // nil: the whole segment; protected by registry
}

// A part is an object that shares its segment with others.
type part struct {
	handles int // protected by registry
	// q is without a handle, so that it can not keep one reachable.
	q Quiescer
}

// A Mapping is a segment in the memory of this process. There is one for each
// segment, shared by the handles to it.
type Mapping struct {
	foot   *footer
	raw    bool // a foreign file: no footer, no tokens
	key    regKey
	mm     mmap.MMap
	all    []byte // what mm maps; it stays valid after everything was closed
	token  uint64
	region *region

	fdMu sync.RWMutex // protects fd, whose number is soon another file's after teardown
	// fd holds the token's lock: its description is referred to by nothing else,
	// see liveness_linux.go. Of a foreign file it is the only descriptor. -1 after
	// teardown.
	fd int

	handles int           // protected by registry
	parts   map[int]*part // protected by registry; by offset in the file

	mu    sync.Mutex  // protects local
	local map[int]any // process-local companions of shared words, by offset
}

// A Waiter is a process-local companion whose goroutines sleep on the memory. That
// must not go while they do: a wake-up that another process means for anybody
// would be lost in here.
type Waiter interface {
	// Suspend returns when nothing sleeps on the memory, and lets nothing.
	Suspend()
	// Resume undoes that. There are zero pages in the place of the memory now.
	Resume()
}

// A Leaver is a process-local companion that can tell the other processes that this one
// ends in good order, and is not lost.
type Leaver interface{ Leave() }

// Leave is for a process that is about to exit in good order, whatever it has not
// closed.
func Leave() {
	var all []Leaver
	registry.Lock()
	for _, m := range registry.m {
		m.mu.Lock()
		for _, v := range m.local {
			if l, ok := v.(Leaver); ok {
				all = append(all, l)
			}
		}
		m.mu.Unlock()
	}
	registry.Unlock()
	for _, l := range all {
		l.Leave()
	}
}

// regKey finds a mapping: by identity, or a foreign file by device and inode.
type regKey struct {
	id       ID
	dev, ino uint64
}

// registry has every mapping that some handle holds. Nothing that is locked with
// it waits for another process, but for a Reap that is about to end.
var registry = struct {
	sync.Mutex
	m map[regKey]*Mapping
}{m: make(map[regKey]*Mapping)}

// layout decides where things stand in a new segment.
func (s Spec) layout() (*footer, error) {
	if s.Kind == "" || len(s.Kind) > kindSize {
		panic("seg: bad kind " + s.Kind)
	}
	if s.Data < 0 || s.Meta < 0 || s.Count < 0 {
		return nil, fmt.Errorf("shm: negative size %d", min(s.Data, s.Count))
	}
	if s.Data > maxSegment-1<<20 || s.Meta > maxSegment-1<<20-s.Data {
		return nil, fmt.Errorf("%w: %d bytes asked for; the limit is %d", ErrNoSpace, s.Data, int64(maxSegment))
	}
	f := &footer{
		dataSize: int64(s.Data), metaSize: int64(s.Meta), count: int64(s.Count),
		kind: s.Kind, typ: s.Type[:min(len(s.Type), typTextSize)], typLen: int64(len(s.Type)),
		typHash: typeHash(s.Type), created: time.Now().UnixNano(), pid: int64(os.Getpid()),
	}
	// The runtime's generator, which each process seeds from the system's. The identity is to be unique, and no secret.
	binary.NativeEndian.PutUint64(f.id[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(f.id[8:], rand.Uint64())
	page := int64(os.Getpagesize())
	f.metaOff = roundUp(f.dataSize, metaAlign)
	f.fileSize = roundUp(f.metaOff+roundUp(f.metaSize, cacheLine)+footerSize, page)
	return f, nil
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

// newRegion has m's addresses unmapped when m becomes unreachable. The region
// must not keep m reachable itself.
func newRegion(m *Mapping) *region {
	r := &region{mm: m.mm}
	runtime.AddCleanup(m, (*region).unmap, r)
	return r
}

// A region is what is left to undo when nobody can reach a mapping any more.
type region struct {
	mm mmap.MMap
	// exposed is set once a slice of the mapping was given to the user: then
	// nothing proves that the addresses are unused, and they stay reserved.
	exposed atomic.Bool
}

func (r *region) unmap() {
	if !r.exposed.Load() {
		_ = r.mm.Unmap() // the range is ours; munmap cannot fail on it
	}
}

// handleLocked makes a handle to m, and m known with the first one.
//
// Preconditions: registry is locked.
func (m *Mapping) handleLocked(name string) *Handle {
	if m.handles == 0 {
		m.region = newRegion(m)
		registry.m[m.key] = m
	}
	m.handles++
	h := &Handle{m: m, name: name, hold: &hold{m: m}}
	h.cleanup = runtime.AddCleanup(h, (*hold).abandon, h.hold)
	return h
}

// Part says that h is a handle to one of several objects in its segment: the one at
// off in the file. q is the object without a handle. Close then refuses by what
// holds the last handle to that object, whatever others the segment has.
//
// Preconditions: nobody else knows h yet; off and q are the same for all handles of
// this process to the object.
func (h *Handle) Part(off int, q Quiescer) {
	registry.Lock()
	defer registry.Unlock()
	if h.m.parts == nil {
		h.m.parts = map[int]*part{}
	}
	p := h.m.parts[off]
	if p == nil {
		p = &part{q: q}
		h.m.parts[off] = p
	}
	p.handles++
	h.hold.part = p
}

// Another makes one more handle to the segment.
func (h *Handle) Another() (*Handle, error) {
	registry.Lock()
	defer registry.Unlock()
	if h.closed.Load() {
		return nil, h.ErrClosed()
	}
	return h.m.handleLocked(h.name), nil
}

// leaveLocked takes a handle away and reports whether it was the last one. Then m
// is not known any more, so that whoever opens the segment from now on gets a new
// mapping with a token of its own, and the caller has to call letGo.
//
// Preconditions: registry is locked.
func (o *hold) leaveLocked() (last bool) {
	m := o.m
	m.handles--
	if o.part != nil {
		o.part.handles--
	}
	if m.handles > 0 {
		return false
	}
	delete(registry.m, m.key)
	return true
}

// letGo gives the memory back when the last handle has left.
func (m *Mapping) letGo() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, v := range m.local {
		if w, ok := v.(Waiter); ok {
			w.Suspend()
			defer w.Resume()
		}
	}
	m.teardown()
}

// abandon is Close for a handle that became unreachable.
func (o *hold) abandon() {
	registry.Lock()
	last := o.leaveLocked()
	registry.Unlock()
	if last {
		o.m.letGo()
	}
}

// A Quiescer is a lock in the segment, seen from Close: what a closing handle
// has to wait for, and what it must not pull away from under somebody.
type Quiescer interface {
	// Refuse returns an error when user code of this process holds the lock, so
	// that only the user can end the hold. Called before the last handle closes.
	// It must not wait.
	Refuse() error
	// HandleClosed wakes the goroutines that wait through a closed handle.
	HandleClosed()
	// Quiesce waits until nothing of this process is inside; nothing comes in any
	// more, since the handle is closed. When the memory is no longer mapped, resume
	// is called with the lock's bytes in another mapping, to give back what this
	// process has of the lock. nil: there is nothing to give back.
	Quiesce() (resume func(lock []byte))
	// Offset is where the lock's bytes start in the file; they are 64.
	Offset() int
}

// Close gives up the handle. q may be nil. Calling it again does nothing, and
// does not wait for the first call.
func (h *Handle) Close(q Quiescer) error {
	m := h.m
	left, last, err := h.leave(q)
	if !left {
		return err
	}
	if q != nil {
		q.HandleClosed()
	}
	if !last {
		return nil
	}
	var finish []func()
	if q != nil && h.hold.part == nil {
		finish = append(finish, m.quiesce(q))
	}
	for _, p := range m.parts { // the last handle is gone: nobody changes it any more
		if p.q != nil {
			finish = append(finish, m.quiesce(p.q))
		}
	}
	m.letGo()
	for _, f := range finish {
		f()
	}
	return nil
}

// quiesce prepares for the end of a lock's memory in this process. The caller calls
// finish when that is gone.
func (m *Mapping) quiesce(q Quiescer) (finish func()) {
	resume := q.Quiesce()
	if resume == nil {
		return func() {}
	}
	// Nothing of this process is inside now. But other processes wait for the
	// lock, and somebody here may have taken it at the last moment without a look
	// at closed. So it is seen to when this process's view of it is gone, and with
	// that nobody here can take it any more, but while its token's lock is not:
	// through a second view, a mapping of the very description that holds the
	// token's lock, which makes that outlast the descriptor.
	view, unview := m.secondView(q.Offset(), cacheLine)
	return func() {
		if view != nil {
			resume(view)
			unview()
		}
	}
}

// leave marks h as closed and takes it away from its mapping, unless q refuses.
// It reports whether it did, and whether h was the last handle.
func (h *Handle) leave(q Quiescer) (left, last bool, err error) {
	registry.Lock()
	defer registry.Unlock()
	if h.closed.Load() {
		return false, false, nil
	}
	if q != nil && h.lastLocked() {
		if err := q.Refuse(); err != nil {
			return false, false, err
		}
	}
	h.closed.Store(true)
	h.cleanup.Stop()
	last = h.hold.leaveLocked()
	runtime.KeepAlive(h) // or the cleanup may run before it was stopped
	return true, last, nil
}

// lastLocked reports whether h is the last handle to its object.
//
// Preconditions: registry is locked.
func (h *Handle) lastLocked() bool {
	if p := h.hold.part; p != nil {
		return p.handles == 1
	}
	return h.m.handles == 1
}

// FromSegment finds the handle inside a *shm.Segment. Package shm, which is above
// this one, sets it, so that array can look inside without a public method.
var FromSegment func(segment any) *Handle

// Closed reports whether Close was called.
func (h *Handle) Closed() bool { return h.closed.Load() }

// Data is the object's data. Use DataForUser for what the user gets to see.
func (h *Handle) Data() []byte { return h.m.all[:h.m.foot.dataSize:h.m.foot.dataSize] }

// DataForUser is Data, for a slice that leaves the library: it stays valid, and
// its addresses stay reserved, after everything was closed.
func (h *Handle) DataForUser() []byte {
	h.m.region.exposed.Store(true)
	return h.Data()
}

// Meta is the object's own area. It starts on a cache line.
func (h *Handle) Meta() []byte {
	f := h.m.foot
	return h.m.all[f.metaOff : f.metaOff+f.metaSize : f.metaOff+f.metaSize]
}

// Count is the number of elements that the segment was made with.
func (h *Handle) Count() int { return int(h.m.foot.count) }

// Kind is the kind of object that the segment was made for; "raw" for a foreign file.
func (h *Handle) Kind() string { return h.m.foot.kind }

// Name is the name that the segment was created or opened with; "" if none.
func (h *Handle) Name() string { return h.name }

// ID is the identity of the segment: the same in every process.
func (h *Handle) ID() ID { return h.m.foot.id }

// Mapping is what the handle's process has of the segment.
func (h *Handle) Mapping() *Mapping { return h.m }

// Raw reports whether the segment is a foreign file.
func (h *Handle) Raw() bool { return h.m.raw }

// Token is the number under which this process owns things in the segment. It
// is never 0, never used again, and less than 2^40.
func (m *Mapping) Token() uint64 { return m.token }

// MetaOffset is where the meta area starts in the file.
func (m *Mapping) MetaOffset() int { return int(m.foot.metaOff) }

// Local returns the process-local companion of the shared word at off, which
// the first caller makes. Every handle gets the same one.
func (m *Mapping) Local(off int, make func() any) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.local[off]; ok {
		return v
	}
	if m.local == nil {
		m.local = map[int]any{}
	}
	v := make()
	m.local[off] = v
	return v
}

// Reopen opens the segment's file once more, for a peer to be sent: never the
// descriptor that the token's lock depends on. The caller closes it. The error is
// fs.ErrClosed when the last handle is closed meanwhile.
func (h *Handle) Reopen() (int, error) {
	fd, err := h.m.reopen()
	runtime.KeepAlive(h)
	return fd, err
}

// Alone reports whether this is the only handle that this process has to the segment.
func (h *Handle) Alone() bool {
	registry.Lock()
	defer registry.Unlock()
	return h.m.handles == 1
}
