// Command interrupted is a family for somebody to press Ctrl-C at: a child with a child of its own, and a daemon. Each says
// its name and what ended its ctx. With the argument "stubborn" they stay all the same.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-multiproc/multiproc/process"
)

type settings struct {
	Below    int
	Stubborn bool
	Aloof    bool // deaf to the terminal
}

var member *process.Func[settings]

func init() {
	member = process.Register(func(ctx context.Context, s settings) error {
		if s.Below > 0 {
			p := process.New(member, settings{s.Below - 1, s.Stubborn, false})
			p.Grace = time.Hour
			if err := p.Start(); err != nil {
				return err
			}
		}
		name := process.Current().Name
		fmt.Println(name, "ready")
		<-ctx.Done()
		var e *process.SignalError
		errors.As(context.Cause(ctx), &e)
		fmt.Println(name, "told:", e.Signal)
		if s.Stubborn {
			select {}
		}
		return nil
	})
}

func main() { process.Main(run) }

func run() int {
	stubborn := len(os.Args) > 1 && os.Args[1] == "stubborn"
	aloof := len(os.Args) > 1 && os.Args[1] == "aloof"
	child := process.New(member, settings{1, stubborn, false})
	daemon := process.New(member, settings{0, stubborn, false})
	daemon.Daemon = true
	child.Grace, daemon.Grace = time.Hour, time.Hour
	if aloof {
		child.StopSignals = []os.Signal{}
	}
	if err := errors.Join(child.Start(), daemon.Start()); err != nil {
		fmt.Println(err)
		return 1
	}
	<-child.Done()
	return 3 // the signal has the last word
}
