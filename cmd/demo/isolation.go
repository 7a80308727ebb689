package main

import (
	"context"

	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/process"
)

// shopping is what the child is given: plain data, and an end of a pipe to answer on.
type shopping struct {
	List  []string
	Reply *pipe.Conn
}

var fillList = process.Register(func(_ context.Context, a shopping) error {
	a.List = append(a.List, "bread", "milk")
	return a.Reply.Send(a.List)
})

// isolation shows that processes share nothing unless they say so: what a child does to
// its arguments, nobody else sees.
func isolation(ctx context.Context, s *stage) error {
	r, w, err := pipe.NewOneWay()
	if err != nil {
		return err
	}
	defer r.Close()
	mine := make([]string, 0, 8) // room enough for append to write in place, were it the same memory
	p := process.New(fillList, shopping{mine, w})
	if err := p.Start(); err != nil {
		return err
	}
	var childs []string
	if err := r.Recv(&childs); err != nil {
		return err
	}
	if err := p.Join(ctx); err != nil {
		return err
	}
	s.say("the child's list: %q, mine: %q", childs, mine[:cap(mine)][:2])
	s.check(len(childs) == 2 && len(mine) == 0 && mine[:1][0] == "", "the child's list has %d entries, the parent's has %d", len(childs), len(mine))
	return nil
}
