package main

import (
	"context"
	"errors"
	"io"

	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/process"
)

// answer receives numbers and, after them, the end of another pipe, on which it answers.
var answer = process.Register(func(_ context.Context, c *pipe.Conn) error {
	var numbers []int
	if err := c.Recv(&numbers); err != nil {
		return err
	}
	sum := 0
	for _, n := range numbers {
		sum += n
	}
	if err := c.Send("thank you"); err != nil {
		return err
	}
	var private *pipe.Conn
	if err := c.Recv(&private); err != nil {
		return err
	}
	defer private.Close()
	return private.Send(sum)
})

// pipes has a conversation with a child: numbers there, a string back, and then an end of a
// second pipe through the first.
func pipes(ctx context.Context, s *stage) error {
	mine, childs, err := pipe.New()
	if err != nil {
		return err
	}
	defer mine.Close()
	p := process.New(answer, childs)
	if err := p.Start(); err != nil {
		return err
	}

	numbers := []int{111, 222, 333}
	if err := mine.Send(numbers); err != nil {
		return err
	}
	var thanks string
	if err := mine.Recv(&thanks); err != nil {
		return err
	}
	s.check(thanks == "thank you", "%v there, %q back", numbers, thanks)

	r, w, err := pipe.NewOneWay()
	if err != nil {
		return err
	}
	defer r.Close()
	if err := mine.Send(w); err != nil { // w has moved: the child holds it now
		return err
	}
	var sum int
	if err := r.Recv(&sum); err != nil {
		return err
	}
	s.check(sum == 666, "through a pipe end that was sent through the pipe: the sum %d", sum)

	// The child was the last to hold the other end, so when it is done comes the end of file.
	if err := p.Join(ctx); err != nil {
		return err
	}
	_, err = r.RecvBytes()
	s.check(errors.Is(err, io.EOF), "after that, %v", err)
	return nil
}
