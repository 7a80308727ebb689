package main

import (
	"context"
	"errors"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/process"
)

// The manager's calls when clients and server have one CPU together, as in a small container. All of it runs in a child, and that child's
// children, to which it was given before they began: how many CPUs there are is decided when a process begins.
var oneCPUGroup = group{
	name:        "onecpu",
	experiments: oneCPUExperiments,
	comparisons: []comparison{
		{what: "Dict.Get, all on one CPU", ours: "rings get", against: "over the socket", theirs: "socket get", faster: 1},
		{ours: "rings get", against: "Redis HGET", theirs: "redis get"},
		{what: "Get and Set, 16 goroutines, all on one CPU", ours: "rings 16", against: "over the socket", theirs: "socket 16", faster: 1},
		{ours: "rings 16", against: "Redis, 16 goroutines", theirs: "redis 16"},
		{what: "Get and Set, 4 processes, all on one CPU", ours: "rings 4", against: "over the socket", theirs: "socket 4", faster: 1},
		{ours: "rings 4", against: "Redis, 4 processes", theirs: "redis 4"},
	},
}

var oneCPUNames = []string{"rings get", "socket get", "redis get", "rings 16", "socket 16", "redis 16", "rings 4", "socket 4", "redis 4"}

// An answered order is what an experiment in the child has found.
type answered struct {
	Found figures
	Why   string // it has not
}

var runOnOneCPU = process.RegisterName("bench on one CPU", func(ctx context.Context, orders *pipe.Conn) error {
	experiments, end, err := managerExperiments(ctx)
	if err != nil {
		return err
	}
	defer end()
	for {
		var name string
		if orders.Recv(&name) != nil {
			return nil
		}
		a := answered{Why: "not measured there"}
		if i := slices.IndexFunc(experiments, func(e experiment) bool { return e.name == name }); i >= 0 {
			found, err := experiments[i].run(ctx)
			if a = (answered{Found: found}); err != nil {
				a.Why = err.Error()
			}
		}
		if err := orders.Send(a); err != nil {
			return err
		}
	}
})

func oneCPUExperiments(context.Context) (_ []experiment, _ func(), err error) {
	cpu, _, err := oneCPU.cpus()
	if err != nil {
		return nil, nil, err
	}
	ours, theirs, err := pipe.New()
	if err != nil {
		return nil, nil, err
	}
	p := process.New(runOnOneCPU, theirs)
	if err := startOn(cpu, p); err != nil {
		ours.Close()
		return nil, nil, err
	}
	var experiments []experiment
	for _, name := range oneCPUNames {
		experiments = append(experiments, experiment{name, func(ctx context.Context) (figures, error) {
			var a answered
			err := ours.Send(name)
			if err == nil {
				err = ours.Recv(&a)
			}
			if err != nil {
				return nil, errors.Join(err, p.Join(ctx))
			}
			if a.Why != "" {
				return nil, missing(a.Why)
			}
			return a.Found, nil
		}})
	}
	return experiments, func() { ours.Close(); p.Join(context.Background()) }, nil
}

// startOn starts a process that has one CPU only.
func startOn(cpu int, p *process.Process) error {
	runtime.LockOSThread() // the child gets this thread's
	defer runtime.UnlockOSThread()
	var all, only unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	only.Set(cpu)
	if err := unix.SchedSetaffinity(0, &only); err != nil {
		return err
	}
	return errors.Join(p.Start(), unix.SchedSetaffinity(0, &all))
}
