package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/go-multiproc/multiproc/pool"
)

// futures shows what can be done with results that are not there yet.
func futures(ctx context.Context, s *stage) error {
	p, err := pool.New(pool.Options{Workers: 2})
	if err != nil {
		return err
	}
	defer p.Terminate()
	submit := func(units ...int) (fs []*pool.Future[napped], err error) {
		for _, n := range units {
			f, err := nap.Submit(ctx, p, n)
			if err != nil {
				return nil, err
			}
			fs = append(fs, f)
		}
		return fs, nil
	}
	isDone := func(f *pool.Future[napped]) bool {
		select {
		case <-f.Done():
			return true
		default:
			return false
		}
	}

	var before, after bool
	err = patiently(func(times int) (bool, error) {
		fs, err := submit(2 * times)
		if err != nil {
			return false, err
		}
		before = isDone(fs[0])
		n, err := fs[0].Result(ctx)
		after = isDone(fs[0]) && n.For == 2*times
		return !before, err
	})
	if err != nil {
		return err
	}
	s.check(!before && after, "done before Result: %v, after: %v", before, after)

	var order []int
	err = patiently(func(times int) (bool, error) {
		fs, err := submit(4*times, 1*times)
		if err != nil {
			return false, err
		}
		order = nil
		for f, err := range pool.AsCompleted(ctx, fs) {
			if err != nil {
				return false, err
			}
			n, _ := f.Result(ctx)
			order = append(order, n.For/times)
		}
		return slices.Equal(order, []int{1, 4}), nil
	})
	if err != nil {
		return err
	}
	s.check(slices.Equal(order, []int{1, 4}), "submitted 4 and 1, completed %v", order)

	var fs, done, pending []*pool.Future[napped]
	err = patiently(func(times int) (_ bool, err error) {
		if fs, err = submit(1*times, 6*times); err != nil {
			return false, err
		}
		done, pending, err = pool.Wait(ctx, fs, pool.FirstCompleted)
		return len(pending) == 1, err
	})
	s.check(err == nil && len(done) == 1 && len(pending) == 1, "Wait for the first: %d done, %d pending", len(done), len(pending))
	done, pending, err = pool.Wait(ctx, fs, pool.AllCompleted)
	s.check(err == nil && len(done) == 2 && len(pending) == 0, "Wait for all: %d done, %d pending", len(done), len(pending))

	if fs, err = submit(0, 0, 10_000, 10_000); err != nil {
		return err
	}
	// The short ones are over when the deadline begins.
	for _, f := range fs[:2] {
		if _, err := f.Result(ctx); err != nil {
			return err
		}
	}
	short, cancel := context.WithTimeout(ctx, napUnit)
	defer cancel()
	_, _, err = pool.Wait(short, fs, pool.AllCompleted)
	var unfinished *pool.UnfinishedError
	s.check(errors.As(err, &unfinished) && unfinished.Unfinished == 2 && unfinished.Of == 4, "with a deadline: %v", err)

	waiting, err := submit(1)
	if err != nil {
		return err
	}
	yes := waiting[0].Cancel()
	_, err = waiting[0].Result(ctx)
	s.check(yes && errors.Is(err, pool.ErrCancelled), "Cancel of one that waits: %v", err)

	for !fs[2].Running() { // it may have been on its way to its worker
		time.Sleep(time.Millisecond)
	}
	yes = fs[2].Cancel() && fs[3].Cancel()
	_, err = fs[2].Result(ctx)
	s.check(yes && errors.Is(err, pool.ErrCancelled), "Cancel of one that runs: %v", err)
	return nil
}
