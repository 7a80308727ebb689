package eventcount

import (
	"context"
	"fmt"
	"testing"
	"time"
	"unsafe"

	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/sys"
)

// BenchmarkRoundTrip compares a permit to another process and one back with the least that
// two futexes can do, spinning before the sleep and not.
func BenchmarkRoundTrip(b *testing.B) {
	cancellable, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		mode string
	}{
		{"spinning", context.Background(), ""},
		{"asleep", context.Background(), "asleep"},
		{"asleep-cancellable", cancellable, "asleep"},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := newStore(b)
			NoSpin.Store(c.mode == "asleep")
			defer NoSpin.Store(false)
			p := reexec.Start(b, "echo", s.file(b), c.mode)
			p.Line()
			back := s.back()
			for b.Loop() {
				s.give()
				if err := back.take(c.ctx); err != nil {
					b.Fatal(err)
				}
			}
			p.Kill()
		})
	}
	b.Run("bare-futex", func(b *testing.B) {
		s := newStore(b)
		p := reexec.Start(b, "futex", s.file(b))
		p.Line()
		back := s.back()
		for i := uint64(1); b.Loop(); i++ {
			s.n.Store(i)
			sys.FutexWake(half(s.n), 1)
			for back.n.Load() != i {
				sys.FutexWait(half(back.n), uint32(i-1), time.Second)
			}
		}
		p.Kill()
	})
}

func half(w *mem.Uint64) *uint32 { return (*uint32)(unsafe.Pointer(w)) }

// helperFutex is the other side of the bare ping-pong.
func helperFutex([]string) int {
	s := inherited()
	back := s.back()
	fmt.Println("ready")
	for i := uint64(1); ; i++ {
		for s.n.Load() != i {
			sys.FutexWait(half(s.n), uint32(i-1), time.Second)
		}
		back.n.Store(i)
		sys.FutexWake(half(back.n), 1)
	}
}
