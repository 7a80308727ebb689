// Package guard is the lock that users of a Value or an Array see as its Mutex,
// from the object's side: a lock in the object's own segment, a lock of the
// user's that stands elsewhere, or none.
//
// Processes that share the object trust each other to use the guard. When a
// holder dies, the guard behaves as the lock it is: see psync.Locker. Close waits
// for the library's own holds, and refuses to pull the memory away from under a
// hold of the user's.
//
// The package knows psync.Locker by its methods only, since psync and the
// packages of other locks stand above it; they tell it about their types by
// [Register].
package guard

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-multiproc/multiproc/internal/gate"
	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// A Locker is what psync.Locker is.
type Locker interface {
	Lock(ctx context.Context) error
	TryLock() (bool, error)
	Unlock() error
	Recover(ctx context.Context, repair func() error) error
}

// A Class tells about a type of locks that can guard an object and stand
// outside its segment.
type Class struct {
	Name string            // at most 16 bytes, not None, Own or Other
	Is   func(Locker) bool // whether a lock is of this class
	// Text describes one so that others can find it, or at least know it again.
	Text func(Locker) string
	// Open finds one by its text. If nil, who opens the object has to bring it.
	Open func(text string) (Locker, error)
	// Same reports whether l is the one with that text. nil means that it may be.
	Same func(l Locker, text string) bool
	// New returns a zero lock that is a handover.Handle.
	New func() Locker
}

// Kinds of guards that are no Class.
const (
	None  = ""      // there is no guard
	Own   = "own"   // a lock in the object's own segment
	Other = "other" // a type that nobody registered
)

var classes struct {
	sync.RWMutex
	list []Class
}

// Register adds a class. Packages call it when they are initialised.
func Register(c Class) {
	classes.Lock()
	defer classes.Unlock()
	classes.list = append(classes.list, c)
}

func find(match func(Class) bool) (Class, bool) {
	classes.RLock()
	defer classes.RUnlock()
	for _, c := range classes.list {
		if match(c) {
			return c, true
		}
	}
	return Class{}, false
}

func named(kind string) (Class, bool) { return find(func(c Class) bool { return c.Name == kind }) }

// Describe says how the guard l is written down in the object; a nil l is one in
// the object's own segment.
func Describe(l Locker) (kind, text string) {
	if isNil(l) {
		return Own, ""
	}
	if c, ok := find(func(c Class) bool { return c.Is(l) }); ok {
		return c.Name, c.Text(l)
	}
	return Other, ""
}

// isNil also sees a nil pointer in the interface, which a caller of Create that
// has no lock may well pass.
func isNil(l Locker) bool {
	if l == nil {
		return true
	}
	v := reflect.ValueOf(l)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

// A Guard is one handle's side of an object's guard.
type Guard struct {
	h    *seg.Handle
	kind string
	// Lock is the lock in the object's own segment, or nil.
	Lock *lock.Mutex
	// User is what the user sees, or nil.
	User Locker
	// closer closes a lock that came with the object, and is nobody else's.
	closer io.Closer
	gate   gate.Gate // around holds of a lock that stands elsewhere, or of none
	// closing ends when Close begins, for those who wait for a lock elsewhere,
	// which knows nothing of that.
	closing atomic.Pointer[ending]
}

type ending struct {
	context.Context
	end context.CancelFunc
}

func newEnding() *ending {
	ctx, end := context.WithCancel(context.Background())
	return &ending{ctx, end}
}

// New makes the guard of an object that this process created.
func New(h *seg.Handle, kind string, l Locker, off int, user func(*lock.Mutex) Locker) *Guard {
	g := &Guard{h: h, kind: kind}
	switch kind {
	case None:
	case Own:
		g.Lock = lock.At(h, off)
		g.User = user(g.Lock)
	default:
		g.User = l
		g.closing.Store(newEnding())
	}
	return g
}

// Open makes the guard of an object that was created elsewhere, with a guard of
// that kind and text. l is the one that the caller brings, or nil.
func Open(h *seg.Handle, kind, text string, l Locker, off int, user func(*lock.Mutex) Locker) (*Guard, error) {
	switch {
	case kind == None || kind == Own:
		if !isNil(l) {
			return nil, fmt.Errorf("it was made with %s, not with the guard given: %w", Say(kind, ""), fs.ErrInvalid)
		}
		return New(h, kind, nil, off, user), nil
	case !isNil(l):
		// Whoever locks another guard than the others would exclude nobody.
		if k, _ := Describe(l); k != kind {
			return nil, fmt.Errorf("its guard is %s, not a %T: %w", Say(kind, text), l, fs.ErrInvalid)
		}
		if c, ok := named(kind); ok && c.Same != nil && !c.Same(l, text) {
			return nil, fmt.Errorf("its guard is another %T than the one given: %w", l, fs.ErrInvalid)
		}
		return New(h, kind, l, off, user), nil
	}
	c, ok := named(kind)
	if !ok || c.Open == nil {
		return nil, fmt.Errorf("its guard is %s, which has to be given in Options.Guard: %w", Say(kind, ""), fs.ErrInvalid)
	}
	l, err := c.Open(text)
	if err != nil {
		return nil, fmt.Errorf("its guard, %s: %w", Say(kind, text), err)
	}
	g := New(h, kind, l, off, user)
	g.closer, _ = l.(io.Closer)
	return g, nil
}

// Say is a kind in words.
func Say(kind, text string) string {
	switch kind {
	case None:
		return "no guard"
	case Own:
		return "a guard of its own"
	case Other:
		return "a lock of a type that does not cross processes"
	}
	if text == "" {
		return "a " + kind + " lock"
	}
	return "the " + kind + " lock " + text
}

// HandOver describes the guard, behind its object.
func (g *Guard) HandOver(e *handover.Encoder) error {
	if g.kind == None || g.kind == Own {
		return nil
	}
	h, ok := g.User.(handover.Handle)
	if _, known := named(g.kind); !ok || !known {
		return fmt.Errorf("its guard, a %T, cannot be passed to another process; use a psync.Mutex or psync.FileLock", g.User)
	}
	return e.Handle(h)
}

// TakeOver makes the guard of an object that was handed over, which says that it
// is of that kind.
func TakeOver(d *handover.Decoder, h *seg.Handle, kind string, off int, user func(*lock.Mutex) Locker) (*Guard, error) {
	if kind == None || kind == Own {
		return New(h, kind, nil, off, user), nil
	}
	c, ok := named(kind)
	if !ok {
		return nil, fmt.Errorf("its guard is %s, whose package this program lacks", Say(strings.ToValidUTF8(kind, "?"), ""))
	}
	l := c.New()
	if err := d.Handle(l.(handover.Handle)); err != nil {
		return nil, err
	}
	g := New(h, kind, l, off, user)
	g.closer, _ = l.(io.Closer)
	return g, nil
}

// Acquire takes the guard, if there is one, in the given mode, for what a method
// of the object is about to do. The caller must Release it, if err is nil.
func (g *Guard) Acquire(ctx context.Context, mode lock.Mode) error {
	if g.Lock != nil {
		return g.Lock.Lock(ctx, mode)
	}
	if !g.gate.Enter() {
		return seg.ErrClosed
	}
	var err error
	if g.User != nil {
		err = g.lockUser(ctx)
	} else {
		// Without a guard nobody is waited for; as everywhere else, a ctx that
		// has ended fails before anything is done.
		err = ctx.Err()
	}
	if err != nil {
		g.gate.Leave()
	}
	return err
}

// lockUser takes a lock that stands elsewhere, or ends with Close.
func (g *Guard) lockUser(ctx context.Context) error {
	if ok, err := g.User.TryLock(); ok || err != nil {
		return err
	}
	closing := g.closing.Load()
	either, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(closing, cancel)()
	err := g.User.Lock(either)
	if err != nil && closing.Err() != nil && ctx.Err() == nil {
		return seg.ErrClosed
	}
	return err
}

// Release gives the guard back.
func (g *Guard) Release() error {
	if g.Lock != nil {
		return g.Lock.Unlock()
	}
	defer g.gate.Leave()
	if g.User != nil {
		return g.User.Unlock()
	}
	return nil
}

// Close closes the object's handle. closed is called at the point of no return,
// before anything is taken away. If the user holds the guard through this
// handle, Close is an error and does nothing.
func (g *Guard) Close(closed func()) error {
	if g.Lock != nil {
		err := g.h.Close(quiescer{g.Lock, closed})
		if err == nil {
			// If this was the process's last handle, nobody is inside. If not,
			// the memory is still there for whoever is.
			g.Lock.Drain()
		}
		return err
	}
	if c := g.closing.Load(); c != nil {
		c.end()
	}
	g.gate.Shut()
	if g.closer != nil {
		if err := g.closer.Close(); err != nil {
			g.closing.Store(newEnding())
			g.gate.Open()
			return err
		}
	}
	closed()
	return g.h.Close(nil)
}

// A quiescer says when the handle is closed.
type quiescer struct {
	*lock.Mutex
	closed func()
}

func (q quiescer) HandleClosed() {
	q.closed()
	q.Mutex.HandleClosed()
}
