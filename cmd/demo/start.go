package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/process"
)

// introduce runs in the child: it says who it is.
var introduce = process.Register(func(_ context.Context, reply *pipe.Conn) error {
	return reply.Send(process.Current())
})

var startChildren = process.CPUCount()

func startFlags(cmd *cobra.Command) {
	countFlag(cmd, &startChildren, "children", 1, "how many; one per CPU unless said otherwise")
}

// start starts one process per CPU and lets each of them introduce itself.
func start(ctx context.Context, s *stage) error {
	s.say("I am process %d, and may use %d CPUs", os.Getpid(), process.CPUCount())

	var children []*process.Process
	var replies []*pipe.Conn
	for i := range startChildren {
		r, w, err := pipe.NewOneWay()
		if err != nil {
			return err
		}
		defer r.Close()
		p := process.New(introduce, w) // the pipe's end moves to the child with the other arguments
		p.Name = fmt.Sprintf("worker-%d", i+1)
		if err := p.Start(); err != nil {
			return err
		}
		children, replies = append(children, p), append(replies, r)
	}

	right := 0
	for i, p := range children {
		var child process.Info
		if err := replies[i].Recv(&child); err != nil {
			return err
		}
		if err := p.Join(ctx); err != nil {
			return err
		}
		s.say("%s is process %d, its parent is %d", child.Name, child.PID, child.ParentPID)
		if child.Name == p.Name && child.PID == p.PID() && child.PID != os.Getpid() && child.ParentPID == os.Getpid() {
			right++
		}
	}
	s.check(right == startChildren, "%d of %d children say their own pid, ours as their parent's, and their name", right, startChildren)
	return nil
}
