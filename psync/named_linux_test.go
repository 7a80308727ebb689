package psync_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"

	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/shm"
)

// A named object is what it is for whoever opens its name: made once, joined by others, and no other kind.
func TestNamedObjects(t *testing.T) {
	for _, kind := range []struct {
		name   string
		create func(name string, o psync.Options) (io.Closer, error)
		open   func(name string, o psync.Options) (io.Closer, error)
		same   func(t *testing.T, made, opened io.Closer) // checks that what is done to one is done to the other
	}{
		{
			"Event",
			func(name string, o psync.Options) (io.Closer, error) { return closer(psync.CreateEvent(name, o)) },
			func(name string, o psync.Options) (io.Closer, error) { return closer(psync.OpenEvent(name, o)) },
			func(t *testing.T, made, opened io.Closer) {
				verify.Must(t, made.(*psync.Event).Set())
				if !opened.(*psync.Event).IsSet() {
					t.Error("set, and the other is not")
				}
			},
		},
		{
			"Barrier",
			func(name string, o psync.Options) (io.Closer, error) {
				return closer(psync.CreateBarrier(name, 2, o))
			},
			func(name string, o psync.Options) (io.Closer, error) { return closer(psync.OpenBarrier(name, o)) },
			func(t *testing.T, made, opened io.Closer) {
				if n := opened.(*psync.Barrier).Parties(); n != 2 {
					t.Errorf("%d parties", n)
				}
				wait := verify.Blocks(t, "Wait", func() error { _, err := made.(*psync.Barrier).Wait(context.Background()); return err })
				_, err := opened.(*psync.Barrier).Wait(soon(t))
				verify.Must(t, err)
				verify.Must(t, wait())
			},
		},
		{
			"Once",
			func(name string, o psync.Options) (io.Closer, error) { return closer(psync.CreateOnce(name, o)) },
			func(name string, o psync.Options) (io.Closer, error) { return closer(psync.OpenOnce(name, o)) },
			func(t *testing.T, made, opened io.Closer) {
				verify.Must(t, made.(*psync.Once).Do(soon(t), func() error { return nil }))
				verify.Must(t, opened.(*psync.Once).Do(soon(t), func() error { t.Error("done once more"); return nil }))
			},
		},
		{
			"RMutex",
			func(name string, o psync.Options) (io.Closer, error) { return closer(psync.CreateRMutex(name, o)) },
			func(name string, o psync.Options) (io.Closer, error) { return closer(psync.OpenRMutex(name, o)) },
			func(t *testing.T, made, opened io.Closer) {
				ctx, err := made.(*psync.RMutex).Lock(soon(t))
				verify.Must(t, err)
				if free(t, opened.(*psync.RMutex)) {
					t.Error("locked, and the other is free")
				}
				verify.Must(t, made.(*psync.RMutex).Unlock(ctx))
				if !free(t, opened.(*psync.RMutex)) {
					t.Error("unlocked, and the other is not free")
				}
			},
		},
	} {
		t.Run(kind.name, func(t *testing.T) {
			o := psync.Options{Dir: t.TempDir()}
			made, err := kind.create("it", o)
			verify.Must(t, err)
			defer made.Close()
			if name := made.(interface{ Name() string }).Name(); name != "it" {
				t.Errorf("Name is %q", name)
			}
			opened, err := kind.open("it", o)
			verify.Must(t, err)
			defer opened.Close()
			kind.same(t, made, opened)

			if _, err := kind.create("it", o); !errors.Is(err, fs.ErrExist) {
				t.Errorf("made again: %v", err)
			}
			if _, err := kind.open("nobody", o); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("open of what is not there: %v", err)
			}
			mu, err := psync.CreateMutex("mutex", o)
			verify.Must(t, err)
			defer mu.Close()
			if _, err := kind.open("mutex", o); !errors.Is(err, shm.ErrType) {
				t.Errorf("open of a Mutex: %v", err)
			}
			verify.Must(t, psync.Remove("it", o))
			if _, err := kind.open("it", o); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("open after Remove: %v", err)
			}
			kind.same(t, made, opened) // who has it keeps it
		})
	}
}

// Who could not open or place something has nothing open: Reap may take it at once.
func TestFailuresLetGo(t *testing.T) {
	o := psync.Options{Dir: t.TempDir()}
	mu, other := newMutex(t), newMutex(t)
	tests := []struct {
		name string
		make func(name string) (io.Closer, error)
		fail func(name string) error
		want error
	}{
		{"a Cond with another lock", func(n string) (io.Closer, error) { return closer(psync.CreateCond(n, mu, o)) },
			func(n string) error { _, err := psync.OpenCond(n, other, o); return err }, fs.ErrInvalid},
		{"a Mutex without a place for its word", func(n string) (io.Closer, error) {
			h, err := seg.Create(n, seg.Spec{Kind: "mutex"}, seg.Options(o))
			return closeFunc(func() error { return h.Close(nil) }), err
		}, func(n string) error { _, err := psync.OpenMutex(n, o); return err }, shm.ErrFormat},
		{"a Semaphore with another maximum", func(n string) (io.Closer, error) { return closer(shm.Create(n, 4096, o)) },
			func(n string) error {
				s, err := shm.Open(n, o)
				verify.Must(t, err)
				defer s.Close()
				first, err := psync.SemaphoreAt(s, 0, 1, psync.SemaphoreOptions{Counting: true, Max: 5})
				verify.Must(t, err)
				defer first.Close()
				_, err = psync.SemaphoreAt(s, 0, 1, psync.SemaphoreOptions{Counting: true, Max: 6})
				return err
			}, shm.ErrType},
		{"a Semaphore with other permits", func(n string) (io.Closer, error) {
			s, err := shm.Create(n, 4096, o)
			if err == nil {
				var two *psync.Semaphore
				two, err = psync.SemaphoreAt(s, 0, 2)
				verify.Must(t, err)
				verify.Must(t, two.Close())
			}
			return closer(s, err)
		}, func(n string) error {
			s, err := shm.Open(n, o)
			verify.Must(t, err)
			defer s.Close()
			_, err = psync.SemaphoreAt(s, 0, 3) // nobody here has joined the other one
			return err
		}, shm.ErrType},
		{"a Mutex in the wrong place", func(n string) (io.Closer, error) { return closer(shm.Create(n, 4096, o)) },
			func(n string) error {
				s, err := shm.Open(n, o)
				verify.Must(t, err)
				defer s.Close()
				_, err = psync.MutexAt(s, 8)
				return err
			}, fs.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			made, err := tt.make("it")
			verify.Must(t, err)
			verify.Must(t, made.Close())
			if err := tt.fail("it"); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
			if gone, err := shm.Reap(o); len(gone) != 1 || err != nil {
				t.Errorf("it is still open: reaped %+v, %v", gone, err)
				verify.Must(t, shm.Remove("it", o))
			}
		})
	}
}

type closeFunc func() error

func (f closeFunc) Close() error { return f() }
