package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/value"
)

var addOne = process.Register(func(_ context.Context, n *value.Value[int64]) error {
	value.Add(n, 1)
	return nil
})

var hundredProcesses = 100

func hundredFlags(cmd *cobra.Command) {
	countFlag(cmd, &hundredProcesses, "processes", 1, "how many")
}

// hundred starts a hundred processes at once. When they are joined, what they did is there:
// nothing to wait for, nothing to sleep for.
func hundred(ctx context.Context, s *stage) error {
	n, err := value.New[int64](0)
	if err != nil {
		return err
	}
	defer n.Close()
	children := make([]*process.Process, hundredProcesses)
	for i := range children {
		children[i] = process.New(addOne, n)
	}
	if err := runAll(ctx, children...); err != nil {
		return err
	}
	s.check(n.Load() == int64(hundredProcesses), "%d processes added 1 each: %d", hundredProcesses, n.Load())
	return nil
}
