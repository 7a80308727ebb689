package verify_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/sys"
	"github.com/go-multiproc/multiproc/internal/verify"
)

// Who sleeps in the kernel for slices of time waits; who is in another system call does not.
func TestWaitsInTheKernel(t *testing.T) {
	var word atomic.Uint32
	p := futexWord(&word)
	c := verify.Begin(func() error {
		for word.Load() == 0 {
			sys.FutexWait(p, 0, 5*time.Millisecond)
		}
		return nil
	})
	if !c.Waits(t) {
		t.Error("it sleeps, and that is not seen")
	}
	word.Store(1)
	verify.Must(t, c.Result(t, "it"))
	if c.Waits(t) {
		t.Error("waits after it returned")
	}
}
