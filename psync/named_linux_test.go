package psync_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"

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
