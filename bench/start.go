package main

import (
	"context"
	"os"
	"os/exec"
	"time"

	"github.com/go-multiproc/multiproc/process"
)

var startGroup = group{
	name:        "start",
	experiments: startExperiments,
	comparisons: []comparison{
		{what: "start and join a child that does nothing", ours: "spawn", against: "os/exec, this binary again", theirs: "os/exec", ask: 1.3},
		{what: "by spawn", ours: "spawn", against: "Python Process, spawn", theirs: "python spawn", faster: 12},
		{what: "by fork", ours: "fork", against: "Python Process, fork, which is one", theirs: "python fork", ask: 2.5},
		{what: "by forkserver, from stock", ours: "forkserver", against: "by spawn", theirs: "spawn", ask: 0.4},
		{what: "by forkserver, back to back", ours: "forkserver in a row", against: "by spawn", theirs: "spawn", ask: 0.8},
		{what: "", ours: "forkserver in a row", against: "Python Process, forkserver", theirs: "python forkserver", faster: 4},
		{what: "by forkserver, Start alone", ours: "forkserver Start", against: "by spawn, Start alone", theirs: "spawn Start"},
	},
}

// bareEnv makes a process exit before it does anything: what a child costs at least.
const bareEnv = "MULTIPROC_BENCH_BARE"

func bareChild() bool { return os.Getenv(bareEnv) != "" }

var doNothing = process.Register(func(context.Context, struct{}) error { return nil })

// startAndJoin has n children start and end, one after the other. before each of them, which is not counted, prepare is called. It
// returns the nanoseconds of one, and those of its Start alone.
func startAndJoin(ctx context.Context, m process.Method, n int, prepare func() error) (whole, start float64, err error) {
	var sum, starts time.Duration
	for range n {
		if err := prepare(); err != nil {
			return 0, 0, err
		}
		p := process.New(doNothing, struct{}{})
		p.Method = m
		began := time.Now()
		if err := p.Start(); err != nil {
			return 0, 0, err
		}
		starts += time.Since(began)
		if err := p.Join(ctx); err != nil {
			return 0, 0, err
		}
		sum += time.Since(began)
	}
	return float64(sum) / float64(n), float64(starts) / float64(n), nil
}

func startExperiments(context.Context) ([]experiment, func(), error) {
	const n = 50
	nothing := func() error { return nil }
	letGo := func() { process.SetForkServer(process.ForkServerOptions{Warm: -1}) }
	method := func(m process.Method) experiment {
		return experiment{m.String(), func(ctx context.Context) (figures, error) {
			whole, start, err := startAndJoin(ctx, m, n, nothing)
			return figures{m.String(): whole, m.String() + " Start": start}, err
		}}
	}
	return []experiment{
		method(process.Spawn),
		method(process.Fork),
		{"forkserver, from stock", func(ctx context.Context) (figures, error) {
			process.SetForkServer(process.ForkServerOptions{Warm: 4})
			defer letGo()
			whole, start, err := startAndJoin(ctx, process.ForkServer, n, func() error { return process.WarmUp(ctx) })
			return figures{"forkserver": whole, "forkserver Start": start}, err
		}},
		{"forkserver, back to back", func(ctx context.Context) (figures, error) {
			process.SetForkServer(process.ForkServerOptions{})
			defer letGo()
			// Until what is ready in the beginning is used up.
			if _, _, err := startAndJoin(ctx, process.ForkServer, 10, nothing); err != nil {
				return nil, err
			}
			whole, _, err := startAndJoin(ctx, process.ForkServer, n, nothing)
			return figures{"forkserver in a row": whole}, err
		}},
		{"os/exec", func(ctx context.Context) (figures, error) {
			ns, err := perOp(n, func() error {
				for range n {
					cmd := exec.CommandContext(ctx, "/proc/self/exe")
					cmd.Env = append(os.Environ(), bareEnv+"=1")
					if err := cmd.Run(); err != nil {
						return err
					}
				}
				return nil
			})
			return figures{"os/exec": ns}, err
		}},
		python("start.py"),
	}, letGo, nil
}
