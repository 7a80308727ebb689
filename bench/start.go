package main

import (
	"context"
	"os"
	"os/exec"

	"github.com/go-multiproc/multiproc/process"
)

var startGroup = group{
	name:        "start",
	experiments: startExperiments,
	comparisons: []comparison{
		{what: "start and join a child that does nothing", ours: "process", against: "os/exec, this binary again", theirs: "os/exec", ask: 1.3},
		{what: "", ours: "process", against: "Python Process, spawn", theirs: "python spawn"},
		{what: "", ours: "process", against: "Python Process, fork", theirs: "python fork"},
	},
}

// bareEnv makes a process exit before it does anything: what a child costs at least.
const bareEnv = "MULTIPROC_BENCH_BARE"

func bareChild() bool { return os.Getenv(bareEnv) != "" }

var doNothing = process.Register(func(context.Context, struct{}) error { return nil })

func startExperiments(context.Context) ([]experiment, func(), error) {
	const n = 50
	return []experiment{
		{"process", func(ctx context.Context) (figures, error) {
			ns, err := perOp(n, func() error {
				for range n {
					p := process.New(doNothing, struct{}{})
					if err := p.Start(); err != nil {
						return err
					}
					if err := p.Join(ctx); err != nil {
						return err
					}
				}
				return nil
			})
			return figures{"process": ns}, err
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
	}, func() {}, nil
}
