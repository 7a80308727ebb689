package main

import (
	"context"
	"fmt"
	"os"

	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/value"
)

// A letterWriter is a kind of process of our own: its fields are what it works with, and Run
// is what it does. Other languages derive it from a class Process.
type letterWriter struct {
	*process.Process `cbor:"-"` // stays with the parent, which gets Start, Join, Kill and the rest from it

	From    string
	To      []string
	Written *value.Value[int64] // shared
	Mail    *pipe.Conn
}

// Run runs in the child, on the child's copy of the fields.
func (w *letterWriter) Run(ctx context.Context) error {
	for _, to := range w.To {
		if err := w.Mail.Send(fmt.Sprintf("Dear %s, I am process %d. Yours, %s", to, os.Getpid(), w.From)); err != nil {
			return err
		}
		value.Add(w.Written, 1)
	}
	w.From = "nobody" // that is not seen by the parent
	return nil
}

// A method cannot be registered, since its receiver is not known yet: it is the argument.
var runLetterWriter = process.Register(func(ctx context.Context, w *letterWriter) error { return w.Run(ctx) })

func newLetterWriter(from string, written *value.Value[int64], mail *pipe.Conn, to ...string) *letterWriter {
	w := &letterWriter{From: from, To: to, Written: written, Mail: mail}
	w.Process = process.New(runLetterWriter, w)
	w.Name = "letters-of-" + from
	return w
}

// own starts a process of a type that is defined here.
func own(ctx context.Context, s *stage) error {
	written, err := value.New[int64](0)
	if err != nil {
		return err
	}
	defer written.Close()
	letters, mail, err := pipe.NewOneWay()
	if err != nil {
		return err
	}
	defer letters.Close()

	w := newLetterWriter("Ada", written, mail, "Charles", "Mary")
	if err := w.Start(); err != nil {
		return err
	}
	right := 0
	for _, to := range w.To {
		var letter string
		if err := letters.Recv(&letter); err != nil {
			return fmt.Errorf("%w: %w", err, w.Join(ctx))
		}
		s.say("%s", letter)
		if letter == fmt.Sprintf("Dear %s, I am process %d. Yours, Ada", to, w.PID()) && w.PID() != os.Getpid() {
			right++
		}
	}
	if err := w.Join(ctx); err != nil {
		return err
	}
	s.check(right == 2 && written.Load() == 2, "Run ran in a process of its own, and saw its fields: %d letters", right)
	s.check(w.From == "Ada", "what it did to its fields stayed with it: they are %s's still", w.From)
	return nil
}
