package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/go-multiproc/multiproc/pool"
	"github.com/go-multiproc/multiproc/psync"
)

// An order says what a worker is to do to itself.
type order struct {
	What string
	Lock *psync.Mutex
}

var obey = pool.Register(func(ctx context.Context, o order) (string, error) {
	switch o.What {
	case "killed while it holds a lock":
		if err := o.Lock.Lock(ctx); err != nil {
			return "", err
		}
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "a panic":
		panic("something is wrong")
	case "too much memory":
		var kept [][]byte
		for len(kept) < 1<<20 {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			kept = append(kept, b)
		}
		return fmt.Sprintf("%d MiB", len(kept)), nil
	case "too much time":
		select {} // and does not heed ctx
	}
	return "well", nil
})

// crashes has tasks fail in every way, among others that do not.
func crashes(ctx context.Context, s *stage) error {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	p, err := pool.New(pool.Options{Workers: 2, Grace: 100 * time.Millisecond, MemoryLimit: 64 << 20, Stderr: null})
	if err != nil {
		return err
	}
	defer p.Terminate()
	mu, err := psync.NewMutex()
	if err != nil {
		return err
	}
	defer mu.Close()
	short := obey.With(pool.TaskOptions{Timeout: 200 * time.Millisecond})
	var fs []*pool.Future[string]
	var whats []string
	for _, what := range []string{"killed while it holds a lock", "a panic", "too much memory", "too much time"} {
		for _, w := range []string{what, "nothing", "nothing"} {
			task := obey
			if w == "too much time" {
				task = short
			}
			f, err := task.Submit(ctx, p, order{w, mu})
			if err != nil {
				return err
			}
			fs, whats = append(fs, f), append(whats, w)
		}
	}
	well := 0
	for i, f := range fs {
		got, err := f.Result(ctx)
		var died *pool.WorkerDiedError
		var failed *pool.TaskError
		isDead := errors.As(err, &died)
		text, _, _ := strings.Cut(fmt.Sprint(err), "\n")
		switch whats[i] {
		case "nothing":
			if err == nil && got == "well" {
				well++
			}
		case "a panic":
			s.check(errors.As(err, &failed) && failed.Stack != "", "%s: %s", whats[i], text)
		case "too much memory":
			s.check(isDead && died.MemoryKill, "%s: %s", whats[i], text)
		case "too much time":
			s.check(isDead && errors.Is(err, context.DeadlineExceeded), "%s: %s", whats[i], text)
		default:
			s.check(isDead && died.Signal == syscall.SIGKILL, "%s: %s", whats[i], text)
		}
	}
	s.check(well == 8, "all %d others are well", well)

	err = mu.Lock(ctx)
	s.check(errors.Is(err, psync.ErrOwnerDied), "the lock of the one that was killed: %v", err)
	if err == nil {
		return mu.Unlock() // the worker has not come as far as the lock
	}
	if err := mu.LockOrRecover(ctx, nil); err != nil {
		return err
	}
	s.check(true, "and it was recovered")
	return mu.Unlock()
}
