package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/go-multiproc/multiproc/process"
)

// serveTour tries each way to serve: with many clients at once, then with the death of one
// of the processes that serve, then by stopping it.
func serveTour(ctx context.Context, s *stage) error {
	for _, mode := range []string{"goroutine", "process", "prefork"} {
		if err := tryServer(ctx, s, mode); err != nil {
			return fmt.Errorf("%s: %w", mode, err)
		}
	}
	return nil
}

func tryServer(ctx context.Context, s *stage, mode string) error {
	const workers, clients = 3, 20
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	started := make(chan int, 2*clients) // more than there will be
	srv := &server{listener: l, workers: workers, log: s.say, started: func(p *process.Process) { started <- p.PID() }}
	running, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- waysToServe[mode](srv, running) }()
	defer stop()

	// All clients are connected at the same time.
	servedBy := make([]int, clients)
	errs := make([]error, clients)
	var all, connected sync.WaitGroup
	connected.Add(clients)
	for i := range clients {
		all.Go(func() {
			servedBy[i], errs[i] = tryClient(ctx, l.Addr(), &connected)
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	slices.Sort(servedBy)
	servers := slices.Compact(servedBy)
	elsewhere := !slices.Contains(servers, os.Getpid())
	switch mode {
	case "goroutine":
		s.check(len(servers) == 1 && !elsewhere, "%s: %d clients at once, served in this process", mode, clients)
		return endServer(s, mode, stop, served)
	case "process":
		s.check(len(servers) == clients && elsewhere, "%s: %d clients at once, served by %d processes", mode, clients, len(servers))
	case "prefork":
		s.check(len(servers) <= workers && elsewhere, "%s: %d clients at once, served by %d of %d workers", mode, clients, len(servers), workers)
	}

	// One of the processes that serve is killed: the one that a client has for itself, or a worker.
	unconcerned, err := dialServer(ctx, l.Addr())
	if err != nil {
		return err
	}
	defer unconcerned.conn.Close()
	if mode == "process" {
		concerned, err := dialServer(ctx, l.Addr())
		if err != nil {
			return err
		}
		defer concerned.conn.Close()
		if err := syscall.Kill(concerned.servedBy, syscall.SIGKILL); err != nil {
			return err
		}
		_, err = concerned.ask("still there?")
		s.check(err != nil, "%s: one was killed, and its client knows: %v", mode, err)
	} else {
		var victim int
		for range workers {
			if pid := <-started; pid != unconcerned.servedBy {
				victim = pid
			}
		}
		if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
			return err
		}
		select {
		case pid := <-started:
			s.check(true, "%s: worker %d was killed, and is replaced by %d", mode, victim, pid)
		case <-ctx.Done():
			return errors.New("a worker that was killed was not replaced")
		}
	}
	newcomer, err := dialServer(ctx, l.Addr())
	if err != nil {
		return err
	}
	defer newcomer.conn.Close()
	_, err = unconcerned.ask("still there?")
	s.check(err == nil, "%s: other clients and new ones are served", mode)
	return endServer(s, mode, stop, served)
}

// endServer stops a server while clients are connected.
func endServer(s *stage, mode string, stop func(), served <-chan error) error {
	stop()
	if err := <-served; err != nil {
		return err
	}
	left := len(process.Children())
	s.check(left == 0, "%s: stopped while clients were connected, %d processes are left", mode, left)
	return nil
}

// A caller is a client that is connected and was answered once.
type caller struct {
	conn     net.Conn
	answers  *bufio.Scanner
	servedBy int
}

func dialServer(ctx context.Context, addr net.Addr) (*caller, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, addr.Network(), addr.String())
	if err != nil {
		return nil, err
	}
	c := &caller{conn: conn, answers: bufio.NewScanner(conn)}
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	if c.servedBy, err = c.ask("hello"); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// ask returns who answered.
func (c *caller) ask(question string) (pid int, err error) {
	if _, err := fmt.Fprintln(c.conn, question); err != nil {
		return 0, err
	}
	if !c.answers.Scan() {
		return 0, fmt.Errorf("no answer: %v", c.answers.Err())
	}
	who, answer, _ := strings.Cut(c.answers.Text(), ": ")
	if answer != strings.ToUpper(question) {
		return 0, fmt.Errorf("%q is no answer to %q", c.answers.Text(), question)
	}
	_, err = fmt.Sscan(who, &pid)
	return pid, err
}

// tryClient asks a few questions, but the second only when all others have asked their first.
func tryClient(ctx context.Context, addr net.Addr, connected *sync.WaitGroup) (servedBy int, err error) {
	c, err := dialServer(ctx, addr)
	connected.Done()
	if err != nil {
		return 0, err
	}
	defer c.conn.Close()
	connected.Wait()
	for i := range 10 {
		if by, err := c.ask(fmt.Sprintf("question %d", i)); err != nil || by != c.servedBy {
			return 0, fmt.Errorf("answered by %d and by %d: %w", c.servedBy, by, err)
		}
	}
	return c.servedBy, nil
}

// clientTour lets the client of the command line have a conversation.
func clientTour(ctx context.Context, s *stage) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- acceptAll(running, l) }()
	var answers bytes.Buffer
	talkErr := talk(ctx, l.Addr().String(), strings.NewReader("hello\nbye\nQ\nnot sent\n"), &answers)
	stop()
	if err := errors.Join(talkErr, <-served); err != nil {
		return err
	}
	want := fmt.Sprintf("%[1]d: HELLO\n%[1]d: BYE\n", os.Getpid())
	s.check(answers.String() == want, "two lines and a Q: %q", answers.String())
	return nil
}
