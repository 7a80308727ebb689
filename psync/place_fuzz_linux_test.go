package psync_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
)

// What stands in the bytes of a placed object is somebody else's doing. Whatever it is,
// nothing panics, and what does not wait returns.
func FuzzPlaced(f *testing.F) {
	f.Add(uint8(0), false, []byte{})
	for i := range placeables {
		f.Add(uint8(i), true, []byte{1, 0, 0, 0, 0, 0, 0, 0, 7})
		full := make([]byte, placeables[i].size)
		for j := range full {
			full[j] = byte(j*37 + 255*(j%3))
		}
		f.Add(uint8(i), true, full)
		f.Add(uint8(i), false, full)
	}
	f.Fuzz(func(t *testing.T, which uint8, tagged bool, bytes []byte) {
		p := placeables[int(which)%len(placeables)]
		s := newSegment(t, p.size)
		b := seg.FromSegment(s).Data() // Bytes would keep the addresses for good
		if tagged {
			o, err := p.at(s, 0)
			verify.Must(t, err)
			verify.Must(t, o.Close())
			tag := string(b[psync.Alignment-8 : psync.Alignment])
			copy(b, bytes)
			copy(b[psync.Alignment-8:], tag)
		} else {
			copy(b, bytes)
		}
		o, err := p.at(s, 0)
		if err != nil {
			return
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			use(o)
		}()
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatal("what does not wait does not return")
		}
		clear(b) // so that nobody is inside
		verify.Must(t, o.Close())
	})
}

// use calls what does not wait.
func use(o io.Closer) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	switch o := o.(type) {
	case *psync.Mutex:
		o.TryLock()
		o.Lock(ended)
		o.Unlock()
	case *psync.Semaphore:
		o.TryAcquire()
		o.Acquire(ended)
		_ = o.Value()
		o.Release()
		o.Release()
	case *psync.RWMutex:
		o.TryRLock()
		o.RLock(ended)
		o.RUnlock()
		o.RUnlock()
		o.TryLock()
		o.Lock(ended)
		o.Unlock()
	case *psync.Event:
		o.IsSet()
		o.Set()
		o.Wait(ended)
		o.Clear()
	case *psync.Barrier:
		o.Wait(ended)
		o.Waiting()
		o.Broken()
		o.Abort()
		o.Reset()
	case *psync.Cond:
		o.Signal()
		o.Broadcast()
	case *psync.RMutex:
		o.TryLock(ended)
	}
}
