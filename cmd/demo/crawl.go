package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-multiproc/multiproc/pool"
)

// fetch is a task for workers of any kind.
var fetch = pool.Register(func(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
})

var (
	crawlPages, crawlWorkers = 12, 4
	crawlDelay               = 20 * time.Millisecond
)

func crawlFlags(cmd *cobra.Command) {
	countFlag(cmd, &crawlPages, "pages", 1, "how many to fetch")
	countFlag(cmd, &crawlWorkers, "workers", 1, "how many workers each pool has")
	cmd.Flags().DurationVar(&crawlDelay, "delay", crawlDelay, "how long the server takes for a page")
}

// crawling fetches the same pages in four ways. A page takes its time, as they do.
func crawling(ctx context.Context, s *stage) error {
	pages, delay, workers := crawlPages, crawlDelay, crawlWorkers
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(delay)
		fmt.Fprintf(w, "this is %s", r.URL.Path)
	}))
	defer server.Close()
	var urls []string
	for i := range pages {
		urls = append(urls, fmt.Sprintf("%s/page/%d", server.URL, i))
	}

	began := time.Now()
	var bodies []string
	for _, url := range urls {
		body, err := fetch.Call(ctx, url)
		if err != nil {
			return err
		}
		bodies = append(bodies, body)
	}
	s.check(len(bodies) == pages && bodies[pages-1] == fmt.Sprintf("this is /page/%d", pages-1), "%d pages, one by one: %v", pages, time.Since(began).Round(time.Millisecond))

	processes, err := pool.New(pool.Options{Workers: workers})
	if err != nil {
		return err
	}
	defer processes.Terminate()
	for _, way := range []struct {
		name     string
		executor pool.Executor
	}{
		{"a goroutine for each", pool.NewGoroutines(pages)},
		{fmt.Sprintf("a pool of %d goroutines", workers), pool.NewGoroutines(workers)},
		{fmt.Sprintf("a pool of %d processes", workers), processes},
	} {
		began := time.Now()
		got, err := fetch.With(pool.TaskOptions{Chunk: 1}).Map(ctx, way.executor, urls)
		if err != nil {
			return err
		}
		took := time.Since(began)
		var completed []string
		for body, err := range fetch.IMapUnordered(ctx, way.executor, slices.Values(urls)) {
			if err != nil {
				return err
			}
			completed = append(completed, body)
		}
		slices.Sort(completed)
		s.check(slices.Equal(got, bodies) && slices.Equal(completed, slices.Sorted(slices.Values(bodies))),
			"the same bodies in order, and as they completed, from %s: %v", way.name, took.Round(time.Millisecond))
	}
	return nil
}
