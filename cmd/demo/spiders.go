package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
)

const pagesEach = 3

var spiderCount, atOnce = 10, 3

func spidersFlags(cmd *cobra.Command) {
	countFlag(cmd, &spiderCount, "spiders", 1, "how many processes fetch")
	countFlag(cmd, &atOnce, "at-once", 1, "how many of them may at a time")
}

// spider is what a fetcher is given: where, what, and how many may fetch at a time.
type spider struct {
	URL       string
	Semaphore *psync.Semaphore
}

var crawl = process.Register(func(ctx context.Context, s spider) error {
	for page := range pagesEach {
		if err := s.fetch(ctx, page); err != nil {
			return err
		}
	}
	return nil
})

// fetch takes a permit for as long as it fetches. If this process dies meanwhile, the
// permit returns.
func (s spider) fetch(ctx context.Context, page int) error {
	if err := s.Semaphore.Acquire(ctx); err != nil {
		return err
	}
	defer s.Semaphore.Release()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/%d", s.URL, page), nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return errors.Join(err, answer.Body.Close())
}

// site is a web server that counts its visitors.
type site struct {
	mu           sync.Mutex // protects what follows
	now, most    int
	served       int
	enough       chan struct{} // closed when atOnce have been here together
	enoughClosed bool
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.now++
	s.served++
	s.most = max(s.most, s.now)
	if s.now == atOnce && !s.enoughClosed {
		s.enoughClosed = true
		close(s.enough)
	}
	s.mu.Unlock()
	select {
	case <-s.enough: // the first ones wait for each other
	case <-time.After(10 * time.Second):
	}
	time.Sleep(5 * time.Millisecond) // the page takes time, in which others could come
	fmt.Fprintln(w, "page", r.URL.Path)
	s.mu.Lock()
	s.now--
	s.mu.Unlock()
}

// spiders lets ten processes fetch pages from one server, three at a time.
func spiders(ctx context.Context, s *stage) error {
	atOnce = min(atOnce, spiderCount) // there are never more
	permits, err := psync.NewSemaphore(atOnce)
	if err != nil {
		return err
	}
	defer permits.Close()
	visited := &site{enough: make(chan struct{})}
	server := httptest.NewServer(visited)
	defer server.Close()

	fetchers := make([]*process.Process, spiderCount)
	for i := range fetchers {
		fetchers[i] = process.New(crawl, spider{server.URL, permits})
	}
	if err := runAll(ctx, fetchers...); err != nil {
		return err
	}
	visited.mu.Lock()
	defer visited.mu.Unlock()
	s.check(visited.served == spiderCount*pagesEach, "%d processes fetched %d pages", spiderCount, visited.served)
	s.check(visited.most == atOnce, "at most %d of them at once, with a Semaphore of %d", visited.most, atOnce)
	s.check(permits.Value() == atOnce, "all %d permits are back", permits.Value())
	return nil
}
