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

// A waiter is one Wait. First it looks, with one poll(2) over all descriptors. To park, it puts them in an epoll instance, which is itself
// watched by Go's poller: so any number of them costs one parked goroutine, the goroutine that called. What has no descriptor
// wakes it through a deadline on that instance.
type waiter struct {
	sources []waitable.Source
	ready   []bool        // what was found by look or collect
	gone    []atomic.Bool // sources whose Wait has returned, or that are closed

	owner []int         // the sources that have a descriptor
	polls []unix.PollFd // theirs, for look

	fd      int      // of the epoll instance; -1 if there is none; then poke does
	epoll   *os.File // owns fd
	raw     syscall.RawConn
	indices map[int32][]int // from descriptor to sources; one may be given twice
	events  []unix.EpollEvent

	poke chan struct{} // has one token: look again
	stop []func()
	wg   sync.WaitGroup
}

// maxPoll is for how many descriptors poll(2) is cheaper than to set up an epoll instance. Each is kept open, one call in the other, while it runs.
const maxPoll = 64

// waitSpin knows whether it has lately paid to look again for a while before parking, for one Wait at a time; a Wait beside it parks.
var (
	waitMu   sync.Mutex
	waitSpin wire.Spinner
)

func newWaiter(sources []waitable.Source) (*waiter, error) {
	w := &waiter{
		sources: sources,
		ready:   make([]bool, len(sources)),
		gone:    make([]atomic.Bool, len(sources)),
		fd:      -1,
		poke:    make(chan struct{}, 1),
	}
	for i, s := range sources {
		if s.FD != nil {
			w.owner = append(w.owner, i)
		}
	}
	if len(w.owner) > maxPoll {
		if err := w.arm(); err != nil {
			w.close()
			return nil, err
		}
		return w, nil
	}
	w.polls = make([]unix.PollFd, len(w.owner))
	return w, nil
}

// pollFrom polls all descriptors, of which those before k are being kept open.
func (w *waiter) pollFrom(k int) error {
	for ; k < len(w.owner); k++ {
		i, called := w.owner[k], false
		err := w.sources[i].FD(func(fd int) error {
			called = true
			w.polls[k] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}
			return w.pollFrom(k + 1)
		})
		if called {
			return err
		}
		w.gone[i].Store(true) // closed; whoever uses it will hear
		w.polls[k].Fd = -1    // which poll(2) skips
	}
	for {
		n, err := unix.Poll(w.polls, 0)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("pipe: wait: %w", os.NewSyscallError("poll", err))
		}
		for k := 0; n > 0 && k < len(w.polls); k++ {
			if w.polls[k].Fd >= 0 && w.polls[k].Revents != 0 {
				w.ready[w.owner[k]] = true
			}
		}
		return nil
	}
}

// look looks at the descriptors without waiting.
func (w *waiter) look() error {
	switch {
	case w.fd >= 0:
		_, err := w.collect()
		return err
	case len(w.owner) > 0:
		return w.pollFrom(0)
	}
	return nil
}

// arm puts the descriptors in an epoll instance, unless it is done already.
func (w *waiter) arm() error {
	if w.fd >= 0 || len(w.owner) == 0 {
		return nil
	}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("pipe: wait: %w", os.NewSyscallError("epoll_create1", err))
	}
	w.fd, w.indices = fd, make(map[int32][]int)
	for _, i := range w.owner {
		var result error
		if err := w.sources[i].FD(func(fd int) error { result = w.add(fd, i); return nil }); err != nil {
			w.gone[i].Store(true)
		}
		if result != nil {
			return result
		}
	}
	w.events = make([]unix.EpollEvent, min(max(len(w.indices), 1), 1024))
	return nil
}

func (w *waiter) add(fd, index int) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)}
	err := unix.EpollCtl(w.fd, unix.EPOLL_CTL_ADD, fd, &event)
	if err != nil && err != unix.EEXIST {
		return fmt.Errorf("pipe: wait: %w", os.NewSyscallError("epoll_ctl", err))
	}
	w.indices[int32(fd)] = append(w.indices[int32(fd)], index)
	return nil
}

// park hands the epoll instance to Go's poller. Not before it is needed: a thread that sleeps in the poller would be woken for
// every instance that has something ready.
func (w *waiter) park() error {
	if err := w.arm(); err != nil || w.fd < 0 {
		return err
	}
	// The poller takes a descriptor that is non-blocking. To an epoll instance the flag means nothing.
	if err := unix.SetNonblock(w.fd, true); err != nil {
		return fmt.Errorf("pipe: wait: %w", os.NewSyscallError("fcntl", err))
	}
	w.epoll = os.NewFile(uintptr(w.fd), "epoll")
	var err error
	w.raw, err = w.epoll.SyscallConn()
	return err
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
	switch {
	case w.epoll != nil:
		w.epoll.Close()
	case w.fd >= 0:
		unix.Close(w.fd)
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
	if len(w.owner) > 0 && waitMu.TryLock() {
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
	if err := w.park(); err != nil {
		return nil, err
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
					w.gone[i].Store(true)
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
		if w.ready[i] || w.gone[i].Load() || s.Ready != nil && s.Ready() {
			indices = append(indices, i)
		}
	}
	return indices
}

// block parks until a descriptor is ready or wake was called.
func (w *waiter) block() error {
	var result error
	err := w.raw.Read(func(uintptr) bool {
		var n int
		n, result = w.collect()
		return n > 0 || result != nil
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pipe: wait: %w", err)
	}
	return result
}

// collect notes which descriptors are ready now, and returns how many.
func (w *waiter) collect() (n int, err error) {
	for {
		n, err = unix.EpollWait(w.fd, w.events, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("pipe: wait: %w", os.NewSyscallError("epoll_wait", err))
		}
		for _, event := range w.events[:n] {
			for _, i := range w.indices[event.Fd] {
				w.ready[i] = true
			}
		}
		return n, nil
	}
}
