package psync_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/shm"
)

// A placeable is a type that can stand in a caller's segment.
type placeable struct {
	name string
	size int
	at   func(s *shm.Segment, off int) (io.Closer, error)
	// other is the same type with another parameter; nil if it has none.
	other func(s *shm.Segment, off int) (io.Closer, error)
}

// placeables are all of them. Test files add theirs.
var placeables = []placeable{
	{
		name: "Mutex", size: psync.MutexSize,
		at: func(s *shm.Segment, off int) (io.Closer, error) { return closer(psync.MutexAt(s, off)) },
	},
}

// closer makes a nil *T a nil interface.
func closer[T any, P interface {
	*T
	io.Closer
}](p P, err error) (io.Closer, error) {
	if p == nil {
		return nil, err
	}
	return p, err
}

func newSegment(t testing.TB, size int) *shm.Segment {
	t.Helper()
	s, err := shm.New(size)
	verify.Must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func TestPlacing(t *testing.T) {
	const k = psync.Alignment
	for _, p := range placeables {
		t.Run(p.name, func(t *testing.T) {
			s := newSegment(t, 4*k+p.size)
			check := func(what string, off int, want error, text string) {
				t.Helper()
				o, err := p.at(s, off)
				if o != nil {
					o.Close()
				}
				if !errors.Is(err, want) || err != nil && !strings.Contains(err.Error(), text) {
					t.Errorf("%s: %v; want %v and %q", what, err, want, text)
				}
			}
			check("before the segment", -k, fs.ErrInvalid, "needs")
			check("behind its end", 5*k, fs.ErrInvalid, fmt.Sprintf("from byte %d on", 5*k))
			check("far behind its end", 1<<62, fs.ErrInvalid, "needs")
			check("beside a line", k+8, fs.ErrInvalid, "multiple of 64")
			check("first", 2*k, nil, "")
			check("again", 2*k, nil, "")
			if p.size > k {
				check("across itself", 3*k, shm.ErrType, fmt.Sprintf("bytes %d to %d are", 2*k, 2*k+p.size-1))
			}

			s = newSegment(t, 4*k+p.size)
			s.Bytes()[4*k-1] = 1
			check("on other bytes", 3*k, shm.ErrType, "something unknown")
			clear(s.Bytes())
			s.Bytes()[3*k+1] = 1
			check("on bytes that are not zero", 3*k, shm.ErrType, "neither zero nor")
			clear(s.Bytes())
			check("zeroed", 3*k, nil, "")
			if p.other != nil {
				if o, err := p.other(s, 3*k); !errors.Is(err, shm.ErrType) {
					t.Errorf("with another parameter: %v, %v", o, err)
				}
			}
			for _, q := range placeables {
				if q.name != p.name && q.size <= p.size {
					if o, err := q.at(s, 3*k); !errors.Is(err, shm.ErrType) || !strings.Contains(err.Error(), p.name) {
						t.Errorf("a %s on a %s: %v, %v", q.name, p.name, o, err)
					}
				}
			}
			clear(s.Bytes())
			for _, q := range placeables {
				if q.name != p.name && q.size <= p.size {
					if o, err := q.at(s, 3*k); !errors.Is(err, shm.ErrType) || !strings.Contains(err.Error(), p.name) {
						t.Errorf("a %s where a %s was: %v, %v", q.name, p.name, o, err)
					}
				}
			}
			clear(s.Bytes())
			check("where it was", 3*k, nil, "")
			tag := s.Bytes()[4*k-8 : 4*k]
			binary.LittleEndian.PutUint64(tag, binary.LittleEndian.Uint64(tag)+1<<40)
			check("of another version", 3*k, shm.ErrType, "another release")
			verify.Must(t, s.Close())
			check("in a closed segment", 0, fs.ErrClosed, "")
			if o, err := p.at(nil, 0); !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("in a nil segment: %v, %v", o, err)
			}
		})
	}
}

// Foreign files say nothing about their processes.
func TestPlacingInForeignFile(t *testing.T) {
	dir := t.TempDir()
	verify.Must(t, os.WriteFile(filepath.Join(dir, "f"), make([]byte, 1<<16), 0o600))
	s, err := shm.OpenRaw("f", shm.Options{Dir: dir})
	verify.Must(t, err)
	defer s.Close()
	for _, p := range placeables {
		if o, err := p.at(s, 0); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "another program") {
			t.Errorf("%s: %v, %v", p.name, o, err)
		}
	}
}

// All at once: one of them makes it, and all have the same.
func TestPlacingAtOnce(t *testing.T) {
	for _, p := range placeables {
		t.Run(p.name, func(t *testing.T) {
			for range 50 {
				s := newSegment(t, p.size)
				errs := make(chan error)
				for range 4 {
					go func() {
						o, err := p.at(s, 0)
						if err == nil {
							defer o.Close()
						}
						errs <- err
					}()
				}
				for range 4 {
					verify.Must(t, <-errs)
				}
			}
		})
	}
}

// What is placed arrives in another process at the same place, and is not what
// stands beside it.
func TestPlacedCrosses(t *testing.T) {
	s := newSegment(t, 3*psync.MutexSize)
	var mus []*psync.Mutex
	for i := range 3 {
		mu, err := psync.MutexAt(s, i*psync.MutexSize)
		verify.Must(t, err)
		defer mu.Close()
		mus = append(mus, mu)
	}
	arg, files := reexec.Give(t, mus[1])
	p := reexec.Start(t, "placed", files, arg)
	if l := p.Line(); l != "lock <nil>" {
		t.Fatal(l)
	}
	for i, mu := range mus {
		ok, err := mu.TryLock()
		verify.Must(t, err)
		if ok != (i != 1) {
			t.Errorf("TryLock of %d: %v", i, ok)
		}
		if ok {
			verify.Must(t, mu.Unlock())
		}
	}
	p.Kill()
	for _, err := mus[1].TryLock(); !errors.Is(err, psync.ErrOwnerDied); _, err = mus[1].TryLock() {
		verify.Must(t, err)
	}
	if err := mus[1].LockOrRecover(soon(t), nil); err != nil {
		t.Fatal(err)
	}
	verify.Must(t, mus[1].Unlock())
}

func init() {
	helpers["placed"] = func(args []string) int {
		var mu *psync.Mutex
		if err := reexec.Take(args[0], 1, &mu); err != nil {
			fmt.Println(err)
			return 1
		}
		ok, err := mu.TryLock()
		if !ok && err == nil {
			err = errors.New("taken")
		}
		fmt.Println("lock", err)
		reexec.WaitToBeTold()
		return 0
	}
}

// A placed object has a hold of its own, and refuses to be left held.
func TestClosingPlaced(t *testing.T) {
	s := newSegment(t, 2*psync.MutexSize)
	a, err := psync.MutexAt(s, 0)
	verify.Must(t, err)
	b, err := psync.MutexAt(s, 0)
	verify.Must(t, err)
	other, err := psync.MutexAt(s, psync.MutexSize)
	verify.Must(t, err)
	verify.Must(t, a.Lock(t.Context()))
	verify.Must(t, a.Close()) // b can unlock it
	if err := b.Close(); !errors.Is(err, psync.ErrHeld) {
		t.Errorf("closing the last handle to what is held: %v", err)
	}
	wait := verify.Blocks(t, "Lock", func() error { return b.Lock(t.Context()) })
	verify.Must(t, other.Close())
	verify.Must(t, s.Close())
	verify.Must(t, b.Unlock())
	verify.Must(t, wait())
	verify.Must(t, b.Unlock())
	verify.Must(t, b.Close())
	verify.Must(t, b.Close())
	if err := b.Lock(t.Context()); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Lock after Close: %v", err)
	}
}

// What arrives may be anybody's: a wrong offset, or one where nothing stands, is an
// error.
func TestTakingOverNothing(t *testing.T) {
	s := newSegment(t, 2*psync.MutexSize)
	mu, err := psync.MutexAt(s, psync.MutexSize)
	verify.Must(t, err)
	defer mu.Close()
	m, err := handover.Marshal(mu, "mu")
	verify.Must(t, err)
	defer m.Sent()
	clear(s.Bytes())
	_, err = handover.Unmarshal(m.Data, dups(t, m.FDs), new(*psync.Mutex))
	if !errors.Is(err, shm.ErrType) {
		t.Errorf("taking over zeros: %v", err)
	}
}

// All that one program shares, in one segment: what a process that dies has of it comes
// back, as it does where each object has a segment of its own.
func TestPlacedTogether(t *testing.T) {
	semaphoreAt, rwmutexAt := psync.MutexSize, psync.MutexSize+psync.SemaphoreSize(2)
	s := newSegment(t, rwmutexAt+psync.RWMutexSize)
	sem, err := psync.SemaphoreAt(s, semaphoreAt, 2)
	verify.Must(t, err)
	rw, err := psync.RWMutexAt(s, rwmutexAt)
	verify.Must(t, err)
	verify.Must(t, s.Close()) // they have holds of their own
	ctx := soon(t)

	p, q := permitHelper(t, sem), rwHelper(t, rw)
	asked(t, p, "acquire", "acquire <nil>")
	asked(t, q, "rlock", "rlock <nil>")
	verify.Must(t, sem.Acquire(ctx))
	verify.Must(t, rw.RLock(ctx))
	if err := sem.Close(); !errors.Is(err, psync.ErrHeld) {
		t.Errorf("closing a placed Semaphore with a permit: %v", err)
	}
	if err := rw.Close(); !errors.Is(err, psync.ErrHeld) {
		t.Errorf("closing a placed RWMutex while reading: %v", err)
	}
	verify.Must(t, rw.RUnlock())
	again := verify.Blocks(t, "Acquire", func() error { return sem.Acquire(ctx) })
	write := verify.Blocks(t, "Lock", func() error { return rw.Lock(ctx) })
	p.Kill()
	q.Kill()
	verify.Must(t, again())
	verify.Must(t, write())
	if err := rw.Close(); !errors.Is(err, psync.ErrHeld) {
		t.Errorf("closing a placed RWMutex while writing: %v", err)
	}
	verify.Must(t, rw.Unlock())
	for range 2 {
		verify.Must(t, sem.Release())
	}
	permits(t, sem, 2)
	verify.Must(t, sem.Close())
	verify.Must(t, rw.Close())
}

// Two handles to a placed object: the one that is left can still release what was acquired
// through the other.
func TestOneOfTwoHandles(t *testing.T) {
	s := newSegment(t, psync.SemaphoreSize(1))
	a, err := psync.SemaphoreAt(s, 0, 1)
	verify.Must(t, err)
	b, err := psync.SemaphoreAt(s, 0, 1)
	verify.Must(t, err)
	verify.Must(t, a.Acquire(t.Context()))
	wait := verify.Blocks(t, "Acquire", func() error { return a.Acquire(t.Context()) })
	verify.Must(t, a.Close())
	if err := wait(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Acquire while it is closed: %v", err)
	}
	verify.Must(t, b.Release())
	verify.Must(t, b.Close())
	permits(t, func() *psync.Semaphore {
		c, err := psync.SemaphoreAt(s, 0, 1)
		verify.Must(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}(), 1)
}
