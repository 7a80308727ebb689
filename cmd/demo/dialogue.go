package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/value"
)

// Our own verses; two voices have every other line.
var poem = []string{
	"I wait for you beneath the stair,",
	"I wake when you have spoken.",
	"You ring a bell that is not there,",
	"and yet the wait is broken.",
	"We share one lock, we share one word,",
	"whose turn it is, it told us;",
	"and each line that you have heard",
	"has let the next one hold us.",
}

// A voice recites the lines of the poem that are its own.
type voice struct {
	Mine int // 0 for the even lines, 1 for the odd ones
	// Next is the number of the line that comes next. Cond's lock guards it.
	Next *value.Value[int64]
	Cond *psync.Cond
	Hall *os.File // where both are heard
}

var takeTurns = process.Register(func(ctx context.Context, v voice) error {
	lock := v.Cond.Locker()
	for line := v.Mine; line < len(poem); line += 2 {
		if err := lock.Lock(ctx); err != nil {
			return err
		}
		err := v.Cond.WaitFor(ctx, func() bool { return v.Next.Load() == int64(line) })
		if err == nil {
			_, err = fmt.Fprintln(v.Hall, poem[line])
			value.Add(v.Next, 1)
		}
		if unlockErr := lock.Unlock(); err == nil { // WaitFor holds it also when it fails
			err = unlockErr
		}
		if err == nil {
			err = v.Cond.Signal()
		}
		if err != nil {
			return err
		}
	}
	return nil
})

// dialogue has two processes recite in turn.
func dialogue(ctx context.Context, s *stage) error {
	next, err := value.New[int64](0)
	if err != nil {
		return err
	}
	defer next.Close()
	turn, err := psync.NewCond(next.Mutex()) // the lock that next has anyway
	if err != nil {
		return err
	}
	defer turn.Close()
	heard, hall, err := os.Pipe()
	if err != nil {
		return err
	}
	defer heard.Close()
	a, b := process.New(takeTurns, voice{0, next, turn, hall}), process.New(takeTurns, voice{1, next, turn, hall})
	err = startAll(a, b)
	hall.Close() // so that there is an end when they have ended
	if err != nil {
		return err
	}
	text, err := io.ReadAll(heard)
	if err != nil {
		return err
	}
	s.say("%s", strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n        "))
	s.check(string(text) == strings.Join(poem, "\n")+"\n", "two processes recited %d lines in turn, with one Cond", len(poem))
	return joinAll(ctx, a, b)
}
