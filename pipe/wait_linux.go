package pipe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/waitable"
	"github.com/go-multiproc/multiproc/internal/wire"
)

// A waiter is one Wait. The descriptors stand in an epoll instance, which is itself watched by Go's poller: so any number of
// them costs one parked goroutine, the goroutine that called. What has no descriptor wakes it through a deadline on that instance.
type waiter struct {
	sources []waitable.Source
	ready   []bool // scratch

	epoll   *os.File // nil if no source has a descriptor; then poke does
	raw     syscall.RawConn
	indices map[int32][]int // from descriptor to sources; one may be given twice
	events  []unix.EpollEvent

	poke chan struct{} // has one token: look again
	done []atomic.Bool // sources whose Wait has returned
	stop []func()
	wg   sync.WaitGroup
}

// waitSpin knows whether it has lately paid to look again for a while before parking, for one Wait at a time; a Wait beside it parks.
var (
	waitMu   sync.Mutex
	waitSpin wire.Spinner
)

// newWaiter sets up everything except what needs goroutines.
func newWaiter(sources []waitable.Source) (*waiter, error) {
	w := &waiter{
		sources: sources,
		ready:   make([]bool, len(sources)),
		poke:    make(chan struct{}, 1),
		done:    make([]atomic.Bool, len(sources)),
	}
	for i, s := range sources {
		if s.FD == nil {
			continue
		}
		if w.epoll == nil {
			if err := w.open(); err != nil {
				w.close()
				return nil, fmt.Errorf("pipe: wait: %w", err)
			}
		}
		if err := s.FD(func(fd int) error { return w.add(fd, i) }); err != nil {
			if errors.Is(err, errEpoll) {
				w.close()
				return nil, fmt.Errorf("pipe: wait: %w", err)
			}
			w.done[i].Store(true) // closed; whoever uses it will hear
		}
	}
	w.events = make([]unix.EpollEvent, min(max(len(w.indices), 1), 1024))
	return w, nil
}

func (w *waiter) open() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	// Go's poller takes a descriptor that is non-blocking. To an epoll instance the flag means nothing.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return os.NewSyscallError("fcntl", err)
	}
	w.epoll = os.NewFile(uintptr(fd), "epoll")
	w.indices = make(map[int32][]int)
	w.raw, err = w.epoll.SyscallConn()
	return err
}

var errEpoll = errors.New("epoll_ctl")

func (w *waiter) add(fd, index int) error {
	var result error
	err := w.raw.Control(func(epoll uintptr) {
		event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)}
		result = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_ADD, fd, &event)
	})
	if err == nil {
		err = result
	}
	if err != nil && err != unix.EEXIST {
		return fmt.Errorf("%w: %w", errEpoll, err)
	}
	w.indices[int32(fd)] = append(w.indices[int32(fd)], index)
	return nil
}

// wake makes wait look again. It never blocks.
func (w *waiter) wake() {
	select {
	case w.poke <- struct{}{}:
	default:
	}
	if w.epoll != nil {
		w.epoll.SetReadDeadline(time.Unix(1, 0))
	}
}

func (w *waiter) close() {
	for _, stop := range w.stop {
		stop()
	}
	w.wg.Wait()
	if w.epoll != nil {
		w.epoll.Close()
	}
}

// wait blocks until something is ready.
func (w *waiter) wait(ctx context.Context) ([]int, error) {
	// What is ready now is found without any set-up.
	if err := w.look(); err != nil {
		return nil, err
	}
	if indices := w.gather(); indices != nil {
		return indices, nil
	}
	if w.epoll != nil && waitMu.TryLock() {
		var indices []int
		var err error
		near := waitSpin.Spin(func() bool {
			err = w.look()
			indices = w.gather()
			return indices != nil || err != nil || ctx.Err() != nil
		})
		waitSpin.Done()
		waitMu.Unlock()
		switch {
		case !near:
		case err != nil:
			return nil, err
		case indices != nil:
			return indices, nil
		default:
			return nil, ctx.Err()
		}
	}
	for i, s := range w.sources {
		if s.Notify != nil {
			w.stop = append(w.stop, s.Notify(w.wake))
		}
		if s.Wait != nil {
			waitCtx, cancel := context.WithCancel(ctx)
			w.stop = append(w.stop, cancel)
			w.wg.Go(func() {
				// An error counts as ready, too: the use that follows will tell. Unless it is ours.
				if err := s.Wait(waitCtx); err == nil || waitCtx.Err() == nil {
					w.done[i].Store(true)
					w.wake()
				}
			})
		}
	}
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, w.wake)
		w.stop = append(w.stop, func() { stop() })
	}
	for {
		// A wake that comes from here on is not lost: it makes the blocking below end at once.
		if w.epoll != nil {
			if err := w.epoll.SetReadDeadline(time.Time{}); err != nil {
				return nil, fmt.Errorf("pipe: wait: %w", err)
			}
		}
		select {
		case <-w.poke:
		default:
		}
		if indices := w.gather(); indices != nil {
			return indices, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if w.epoll == nil {
			<-w.poke
			continue
		}
		if err := w.block(); err != nil {
			return nil, err
		}
	}
}

// gather returns the sources that are ready.
func (w *waiter) gather() (indices []int) {
	for i, s := range w.sources {
		if w.ready[i] || w.done[i].Load() || s.Ready != nil && s.Ready() {
			indices = append(indices, i)
		}
	}
	return indices
}

// block parks until a descriptor is ready or wake was called.
func (w *waiter) block() error {
	var result error
	err := w.raw.Read(func(epoll uintptr) bool {
		var n int
		n, result = w.collect(int(epoll))
		return n > 0 || result != nil
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	if err == nil {
		err = result
	}
	if err != nil {
		return fmt.Errorf("pipe: wait: %w", err)
	}
	return nil
}

// look looks at the descriptors without waiting.
func (w *waiter) look() error {
	if w.epoll == nil {
		return nil
	}
	var result error
	err := w.raw.Control(func(epoll uintptr) { _, result = w.collect(int(epoll)) })
	if err == nil {
		err = result
	}
	if err != nil {
		return fmt.Errorf("pipe: wait: %w", err)
	}
	return nil
}

// collect notes which descriptors are ready now, and returns how many.
func (w *waiter) collect(epoll int) (n int, err error) {
	for {
		n, err = unix.EpollWait(epoll, w.events, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, os.NewSyscallError("epoll_wait", err)
		}
		for _, event := range w.events[:n] {
			for _, i := range w.indices[event.Fd] {
				w.ready[i] = true
			}
		}
		return n, nil
	}
}
