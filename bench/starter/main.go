// Command starter is the small program whose children the group "start" of the benchmarks starts: it uses package process and nothing
// else, in the way that the README shows, so that what is measured is what the library adds to a program. The benchmarks themselves would not do: they
// link go-redis, TLS and more, whose initialisation each of their children would pay for, while Python's children import what they need.
//
// It makes one of the measurements each time that it runs, and prints the figures as one line of JSON, in nanoseconds:
//
//	starter spawn 50
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/go-multiproc/multiproc/process"
)

// bareEnv makes a process exit before it does anything: what a child costs at least.
const bareEnv = "MULTIPROC_BENCH_BARE"

var doNothing = process.Register(func(context.Context, struct{}) error { return nil })

func main() {
	if os.Getenv(bareEnv) != "" {
		return
	}
	process.Main(run)
}

func run() int {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: starter measurement children")
		return 2
	}
	n, err := strconv.Atoi(os.Args[2])
	measure, ok := measurements[os.Args[1]]
	if err != nil || n < 1 || !ok {
		fmt.Fprintf(os.Stderr, "starter: no measurement %q of %q children\n", os.Args[1], os.Args[2])
		return 2
	}
	found, err := measure(context.Background(), n)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(found)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "starter:", err)
		return 1
	}
	return 0
}

type figures map[string]float64

var measurements = map[string]func(ctx context.Context, n int) (figures, error){
	"spawn": func(ctx context.Context, n int) (figures, error) {
		whole, start, err := startAndJoin(ctx, process.Spawn, n, nothing)
		return figures{"spawn": whole, "spawn Start": start}, err
	},
	"fork": func(ctx context.Context, n int) (figures, error) {
		whole, _, err := startAndJoin(ctx, process.Fork, n, nothing)
		return figures{"fork": whole}, err
	},
	"stock": func(ctx context.Context, n int) (figures, error) {
		process.SetForkServer(process.ForkServerOptions{Warm: 4})
		whole, start, err := startAndJoin(ctx, process.ForkServer, n, func() error { return process.WarmUp(ctx) })
		return figures{"forkserver": whole, "forkserver Start": start}, err
	},
	"row": func(ctx context.Context, n int) (figures, error) {
		// Until what is ready in the beginning is used up.
		if _, _, err := startAndJoin(ctx, process.ForkServer, 10, nothing); err != nil {
			return nil, err
		}
		whole, _, err := startAndJoin(ctx, process.ForkServer, n, nothing)
		return figures{"forkserver in a row": whole}, err
	},
	"exec": func(ctx context.Context, n int) (figures, error) {
		env := append(os.Environ(), bareEnv+"=1")
		once := func() error {
			cmd := exec.CommandContext(ctx, "/proc/self/exe")
			cmd.Env = env
			return cmd.Run()
		}
		if err := once(); err != nil {
			return nil, err
		}
		began := time.Now()
		for range n {
			if err := once(); err != nil {
				return nil, err
			}
		}
		return figures{"os/exec": float64(time.Since(began)) / float64(n)}, nil
	},
}

func nothing() error { return nil }

// startAndJoin has n children start and end, one after the other, after one that is not counted, as in start.py. Before each of them, which is
// not counted either, prepare is called. It returns the nanoseconds of one, and those of its Start alone.
func startAndJoin(ctx context.Context, m process.Method, n int, prepare func() error) (whole, start float64, err error) {
	var sum, starts time.Duration
	for i := range n + 1 {
		if err := prepare(); err != nil {
			return 0, 0, err
		}
		p := process.New(doNothing, struct{}{})
		p.Method = m
		began := time.Now()
		if err := p.Start(); err != nil {
			return 0, 0, err
		}
		started := time.Since(began)
		if err := p.Join(ctx); err != nil {
			return 0, 0, err
		}
		if i > 0 {
			starts += started
			sum += time.Since(began)
		}
	}
	return float64(sum) / float64(n), float64(starts) / float64(n), nil
}
