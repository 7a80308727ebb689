package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"time"
)

// Two functions that stop in the middle: yield returns when their turn comes again.
func odd(yield func(int) bool) {
	if yield(1) {
		yield(2)
	}
}

func even(yield func(int) bool) {
	if yield(3) {
		yield(4)
	}
}

// coroutines shows what needs no process: functions that switch back and forth, and waits that overlap. Other languages
// have generators and event loops for these; Go has iter.Pull and goroutines.
func coroutines(ctx context.Context, s *stage) error {
	a, stopA := iter.Pull(odd)
	defer stopA()
	b, stopB := iter.Pull(even)
	defer stopB()
	var order []int
	for {
		n, ok := a()
		m, also := b()
		if !ok || !also {
			break
		}
		order = append(order, n, m)
	}
	s.check(slices.Equal(order, []int{1, 3, 2, 4}), "two functions in turn: %v", order)

	// The server answers nobody before all have asked, so that waits which do not overlap would not end.
	const visitors = 5
	var asked sync.WaitGroup
	asked.Add(visitors)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Done()
		asked.Wait()
		time.Sleep(20 * time.Millisecond)
		fmt.Fprint(w, r.URL.Path)
	}))
	defer server.Close()
	began := time.Now()
	answers, errs := make([]string, visitors), make([]error, visitors)
	var all sync.WaitGroup
	for i := range visitors {
		all.Go(func() { answers[i], errs[i] = fetch.Call(ctx, fmt.Sprintf("%s/%d", server.URL, i)) }) // a call, here
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.check(slices.Equal(answers, []string{"/0", "/1", "/2", "/3", "/4"}), "%d waits of 20ms that overlap: %v", visitors, time.Since(began).Round(time.Millisecond))
	return nil
}
