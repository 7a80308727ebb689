//go:build linux

package process_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"

	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/process"
)

type greeting struct {
	Name  string
	Times int
}

// Parent and child are one program: what is registered for a package-level variable, both know.
var greet = process.Register(func(ctx context.Context, g greeting) error {
	for range g.Times {
		fmt.Printf("%s: hello, %s\n", process.Current().Name, g.Name)
	}
	return nil
})

var fail = process.Register(func(ctx context.Context, path string) error {
	_, err := os.Open(path)
	return err
})

// In a program of its own, main would be
//
//	func main() { process.Main(run) }
//
// and this would be run.
func Example() {
	p := process.New(greet, greeting{"world", 2})
	p.Name = "greeter"
	if err := p.Start(); err != nil {
		fmt.Println(err)
		return
	}
	if err := p.Join(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// greeter: hello, world
	// greeter: hello, world
}

func ExampleExitError() {
	p := process.New(fail, "/no/such/file")
	if err := p.Start(); err != nil {
		fmt.Println(err)
		return
	}
	var exit *process.ExitError
	if err := p.Join(context.Background()); errors.As(err, &exit) {
		fmt.Println(exit.Code, exit.Err)
	}
	// Output:
	// 1 open /no/such/file: no such file or directory
}

var settings = process.Inherit([]string{"default"})

var show = process.Register(func(ctx context.Context, _ struct{}) error {
	fmt.Println(process.Current().Method, settings.Get())
	settings.Set(nil) // in the child
	return nil
})

func ExampleInherit() {
	settings.Set([]string{"verbose"})
	for _, m := range []process.Method{process.Spawn, process.Fork} {
		p := process.New(show, struct{}{})
		p.Method = m
		if err := p.Start(); err != nil {
			fmt.Println(err)
			return
		}
		if err := p.Join(context.Background()); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println("parent", settings.Get())
	// Output:
	// spawn [default]
	// fork [verbose]
	// parent [verbose]
}

// In the child, the default logger sends its records to the parent.
var worker = process.Register(func(ctx context.Context, files []string) error {
	slog.SetDefault(slog.New(process.LogHandler()))
	for _, f := range files {
		slog.Info("done", "file", f)
	}
	return nil
})

func ExampleLogHandler() {
	// The time and the process's id differ each time.
	simple := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "pid" {
			return slog.Attr{}
		}
		return a
	}
	p := process.New(worker, []string{"one.txt", "two.txt"})
	p.Name = "worker-1"
	p.Log = slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: simple})
	if err := p.Start(); err != nil {
		fmt.Println(err)
		return
	}
	if err := p.Join(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// level=INFO msg=done process=worker-1 file=one.txt
	// level=INFO msg=done process=worker-1 file=two.txt
}

var holdTooMuch = process.Register(func(ctx context.Context, mib int) error {
	var all [][]byte
	for range mib {
		all = append(all, make([]byte, 1<<20))
	}
	<-ctx.Done()
	runtime.KeepAlive(all)
	return nil
})

func ExampleLimits() {
	p := process.New(holdTooMuch, 100)
	p.Limits.Memory = 64 << 20
	p.Stderr, _ = os.Open(os.DevNull)
	if err := p.Start(); err != nil {
		fmt.Println(err)
		return
	}
	var exit *process.ExitError
	if errors.As(p.Join(context.Background()), &exit) {
		fmt.Println("beyond its memory limit:", exit.MemoryKill)
	}
	// Output:
	// beyond its memory limit: true
}

var workOn = process.Register(func(ctx context.Context, begun *pipe.Conn) error {
	begun.Close()
	<-ctx.Done()
	fmt.Println("cleaning up:", context.Cause(ctx))
	return nil
})

// Terminate asks: the ctx of the child's function ends, and it has the grace period to do what it has to. Kill does not ask.
func ExampleProcess_Terminate() {
	r, w, err := pipe.NewOneWay()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	p := process.New(workOn, w)
	if err := p.Start(); err != nil {
		fmt.Println(err)
		return
	}
	r.RecvBytes() // io.EOF: it has begun. One that has not ends by the signal
	if err := p.Terminate(); err != nil {
		fmt.Println(err)
	}
	fmt.Println(p.Join(context.Background()))
	// Output:
	// cleaning up: process: received signal 15 (terminated)
	// <nil>
}

// With children that are ready, a start takes a fraction of the time.
func ExampleWarmUp() {
	ctx := context.Background()
	process.SetForkServer(process.ForkServerOptions{Warm: 2})
	if err := process.WarmUp(ctx); err != nil {
		fmt.Println(err)
		return
	}
	p := process.New(greet, greeting{"reader", 1})
	p.Name, p.Method = "ready", process.ForkServer
	if err := p.Start(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Join(ctx))
	process.SetForkServer(process.ForkServerOptions{Warm: -1}) // and none from now on
	// Output:
	// ready: hello, reader
	// <nil>
}
