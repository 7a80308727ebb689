package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/process"
)

// A member of the family says a line at its beginning, and a second one when it is told to.
type member struct {
	Name           string
	Daemon, Detach bool
	Audience       *pipe.Conn // hears the lines
}

var recite = process.Register(func(ctx context.Context, m member) error {
	if err := m.Audience.Send(m.Name + ": first line"); err != nil {
		return err
	}
	// A daemon that is stopped could clean up here, and would have a grace period for it.
	defer context.AfterFunc(ctx, func() { m.Audience.Close() })()
	var word string
	if err := m.Audience.Recv(&word); err != nil {
		return err
	}
	return m.Audience.Send(m.Name + ": second line")
})

// raise runs in the family's parent: it starts the members, and then it is done.
var raise = process.Register(func(ctx context.Context, f family) error {
	for _, m := range f.Members {
		p := process.New(recite, m)
		p.Name, p.Daemon, p.Detach = m.Name, m.Daemon, m.Detach
		if err := p.Start(); err != nil {
			return err
		}
	}
	if f.Stays {
		<-ctx.Done()
		return nil
	}
	return f.Audience.Send("parent: done") // and now comes its normal exit
})

type family struct {
	Members  []member
	Stays    bool
	Audience *pipe.Conn
}

// daemon shows whom the end of a parent concerns. Pipe ends move with the arguments, from
// here to the parent and on to the member, so that the member alone holds its own: what
// it says can be heard here, and its end as well.
func daemon(ctx context.Context, s *stage) error {
	// At the parent's normal exit a daemon is stopped, and any other child is waited for.
	parent, heard, err := startFamily(s, family{Members: []member{{Name: "daemon", Daemon: true}, {Name: "child"}}})
	if err != nil {
		return err
	}
	defer closeConns(heard)
	background, child, done := heard[0], heard[1], heard[2]
	if _, err := hear(s, done); err != nil {
		return err
	}
	if err := child.Send("go on"); err != nil {
		return err
	}
	childSaid, _ := hear(s, child)
	if err := parent.Join(ctx); err != nil {
		return err
	}
	daemonSaid, daemonEnd := hear(s, background)
	s.check(childSaid == "child: second line", "the parent has ended, and waited for its child")
	s.check(daemonSaid == "" && errors.Is(daemonEnd, io.EOF), "the parent has ended, and stopped its daemon: no second line")

	// When the parent is killed it can neither stop nor wait for anybody. All end with it, and at once, unless
	// they are detached.
	parent, heard, err = startFamily(s, family{Members: []member{{Name: "daemon", Daemon: true}, {Name: "child"}, {Name: "detached", Detach: true}}, Stays: true})
	if err != nil {
		return err
	}
	defer closeConns(heard)
	if err := parent.Kill(); err != nil {
		return err
	}
	var killed *process.ExitError
	if err := parent.Join(ctx); !errors.As(err, &killed) {
		return fmt.Errorf("a killed parent: %w", err)
	}
	s.say("%v", killed)
	_, daemonEnd = hear(s, heard[0])
	_, childEnd := hear(s, heard[1])
	s.check(errors.Is(daemonEnd, io.EOF) && errors.Is(childEnd, io.EOF), "the parent was killed, and with it ended its daemon and its child")
	if err := heard[2].Send("go on"); err != nil {
		return err
	}
	detachedSaid, _ := hear(s, heard[2])
	s.check(detachedSaid == "detached: second line", "the parent was killed, and its detached child goes on")
	return nil
}

// startFamily returns when all members have said their first line. heard is where they
// are heard, and, behind them, their parent.
func startFamily(s *stage, f family) (parent *process.Process, heard []*pipe.Conn, err error) {
	for i := range f.Members {
		ours, theirs, err := pipe.New()
		if err != nil {
			return nil, nil, err
		}
		heard, f.Members[i].Audience = append(heard, ours), theirs
	}
	ours, theirs, err := pipe.New()
	if err != nil {
		return nil, nil, err
	}
	f.Audience = theirs
	parent = process.New(raise, f)
	parent.Name = "parent"
	if err := parent.Start(); err != nil {
		return nil, nil, err
	}
	for _, c := range heard {
		if _, err := hear(s, c); err != nil {
			return nil, nil, err
		}
	}
	return parent, append(heard, ours), nil
}

func hear(s *stage, c *pipe.Conn) (line string, err error) {
	if err = c.Recv(&line); err == nil {
		s.say("%s", line)
	}
	return line, err
}

func closeConns(cs []*pipe.Conn) {
	for _, c := range cs {
		c.Close()
	}
}
