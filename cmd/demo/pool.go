package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/go-multiproc/multiproc/pool"
)

// nap sleeps, and says which process did.
var nap = pool.Register(func(ctx context.Context, n int) (napped, error) {
	select {
	case <-time.After(time.Duration(n) * napUnit):
		return napped{n, os.Getpid()}, nil
	case <-ctx.Done():
		return napped{}, ctx.Err()
	}
})

const napUnit = 40 * time.Millisecond

type napped struct{ For, PID int }

func lengths(ns []napped) (out []int) {
	for _, n := range ns {
		out = append(out, n.For)
	}
	return out
}

// patiently has f show something that naps of different lengths make visible. On a busy machine a short nap may be over late, or this process look late: then f
// is asked again, with naps that are so many times as long.
func patiently(f func(times int) (seen bool, err error)) error {
	for _, times := range []int{1, 4, 16} {
		if seen, err := f(times); seen || err != nil {
			return err
		}
	}
	return nil // and the check says that it was not seen
}

// pools gives the same naps to a pool in every way that there is.
func pools(ctx context.Context, s *stage) error {
	p, err := pool.New(pool.Options{Workers: 3})
	if err != nil {
		return err
	}
	defer p.Terminate()
	naps := []int{1, 5, 3}
	if _, err := nap.Map(ctx, p, make([]int, 24)); err != nil { // all workers are there now
		return err
	}

	one, err := nap.Apply(ctx, p, 1)
	s.check(err == nil && one.For == 1 && one.PID != os.Getpid(), "Apply ran in worker %d, this is %d", one.PID, os.Getpid())

	got, err := nap.Map(ctx, p, naps)
	s.check(err == nil && slices.Equal(lengths(got), naps), "Map keeps the order: %v", lengths(got))

	whole, err := nap.With(pool.TaskOptions{Chunk: 3}).Map(ctx, p, naps)
	s.check(err == nil && whole[0].PID == whole[2].PID, "in one chunk, they all ran in worker %d", whole[0].PID)

	atOnce := false
	err = patiently(func(times int) (bool, error) {
		later, err := nap.MapAsync(ctx, p, []int{1 * times, 5 * times, 3 * times})
		if err != nil {
			return false, err
		}
		select {
		case <-later.Done():
		default:
			atOnce = true
		}
		got, err = later.Result(ctx)
		for i := range got {
			got[i].For /= times
		}
		return atOnce, err
	})
	s.check(err == nil && atOnce && slices.Equal(lengths(got), naps), "MapAsync returned at once: %t; its future has %v", atOnce, lengths(got))

	var order []int
	for n, err := range nap.IMap(ctx, p, slices.Values(naps)) {
		if err != nil {
			return err
		}
		order = append(order, n.For)
	}
	s.check(slices.Equal(order, naps), "IMap keeps the order: %v", order)

	err = patiently(func(times int) (bool, error) {
		order = nil
		for n, err := range nap.IMapUnordered(ctx, p, slices.Values([]int{1 * times, 5 * times, 3 * times})) {
			if err != nil {
				return false, err
			}
			order = append(order, n.For/times)
		}
		return slices.Equal(order, []int{1, 3, 5}), nil
	})
	if err != nil {
		return err
	}
	s.check(slices.Equal(order, []int{1, 3, 5}), "IMapUnordered yields as they complete: %v", order)

	f, err := nap.Submit(ctx, p, 1)
	if err != nil {
		return err
	}
	called := make(chan int, 1)
	f.OnDone(func(*pool.Future[napped]) { called <- os.Getpid() })
	s.check(<-called == os.Getpid(), "a callback runs here, in %d", os.Getpid())

	if err := p.Close(); err != nil {
		return err
	}
	_, err = nap.Submit(ctx, p, 1)
	s.check(errors.Is(err, pool.ErrClosed), "after Close: %v", err)
	if err := p.Join(ctx); err != nil {
		return err
	}
	s.check(len(p.PIDs()) == 0, "Join waited for the workers' end")

	q, err := pool.New(pool.Options{Workers: 1})
	if err != nil {
		return err
	}
	f, err = nap.Submit(ctx, q, 10_000)
	if err != nil {
		return err
	}
	q.Terminate()
	_, err = f.Result(ctx)
	s.check(errors.Is(err, pool.ErrClosed), "Terminate ends long naps: %v", err)
	return q.Join(ctx)
}
