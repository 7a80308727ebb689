package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-multiproc/multiproc/process"
)

// A server answers each line of a client with the same in capitals, and with the id of the
// process that says so. It does that in one of three ways:
//
//   - goroutines, one per connection, as Go servers do;
//   - a new process per connection, which is given the connection: what one client makes
//     crash, or eats up, no other client notices;
//   - workers that were started in advance and share the listener: the kernel gives each
//     connection to one that is waiting for it. One that dies takes its own clients
//     with it, and is replaced.
type server struct {
	listener net.Listener
	workers  int                              // of the third way
	log      func(format string, args ...any) // of children that ended badly
	started  func(child *process.Process)
}

// A way to serve returns when ctx has ended and nobody is served any more.
type wayToServe func(s *server, ctx context.Context) error

var waysToServe = map[string]wayToServe{
	"goroutine": (*server).byGoroutines,
	"process":   (*server).byProcesses,
	"prefork":   (*server).byWorkers,
}

// converse is what all of them come to.
func converse(ctx context.Context, c net.Conn) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Now()) })() // wakes it up
	lines := bufio.NewScanner(c)
	for lines.Scan() && strings.TrimSpace(lines.Text()) != "Q" {
		if _, err := fmt.Fprintf(c, "%d: %s\n", os.Getpid(), strings.ToUpper(lines.Text())); err != nil {
			return // a client that is gone is nobody's fault
		}
	}
}

// acceptAll serves the connections of a listener by goroutines, until ctx ends.
func acceptAll(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var conversations sync.WaitGroup
	defer conversations.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			return unlessEnded(ctx, err)
		}
		conversations.Go(func() { converse(ctx, c) })
	}
}

func (s *server) byGoroutines(ctx context.Context) error { return acceptAll(ctx, s.listener) }

// serveOne runs in a child: the connection is one of its arguments.
var serveOne = process.Register(func(ctx context.Context, c net.Conn) error {
	converse(ctx, c)
	return nil
})

func (s *server) byProcesses(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { s.listener.Close() })()
	var children sync.WaitGroup
	defer children.Wait()
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return unlessEnded(ctx, err)
		}
		p := process.New(serveOne, c)
		err = s.start(p)
		c.Close() // the child has its own copy; with ours, the client would not see the end of it
		if err != nil {
			s.log("%v", err) // this client goes away empty-handed
			continue
		}
		children.Go(func() { s.join(ctx, p) })
	}
}

// serveAll runs in a worker: the listener is its argument, as it is the other workers'.
var serveAll = process.Register(acceptAll)

func (s *server) byWorkers(ctx context.Context) error {
	defer s.listener.Close()
	ended := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var workers sync.WaitGroup
	for i := range s.workers {
		workers.Go(func() {
			for ctx.Err() == nil {
				p := process.New(serveAll, s.listener)
				p.Name = fmt.Sprintf("worker-%d", i+1)
				if err := s.start(p); err != nil {
					cancel(err) // and the other workers are stopped
					return
				}
				s.join(ctx, p)
				// It is replaced, but one that cannot live shall not keep the machine busy with dying.
				select {
				case <-ctx.Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
	workers.Wait()
	return unlessEnded(ended, context.Cause(ctx))
}

func (s *server) start(p *process.Process) error {
	if err := p.Start(); err != nil {
		return err
	}
	s.started(p)
	return nil
}

// join waits until a child has ended. When ctx ends, it asks it to.
func (s *server) join(ctx context.Context, p *process.Process) {
	defer context.AfterFunc(ctx, func() { p.Terminate() })()
	if err := p.Join(context.WithoutCancel(ctx)); err != nil && ctx.Err() == nil {
		s.log("%v", err)
	}
}

// unlessEnded is err, unless ctx has ended: then it comes from what was closed because of that.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
