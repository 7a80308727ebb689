package main

import (
	"context"
	"errors"
	"slices"

	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/queue"
)

// A production is what a producer gets: numbers, and where to put what it makes of them.
type production struct {
	Numbers []int
	Out     *queue.Queue[int]
}

var (
	putSquares = process.Register(func(ctx context.Context, p production) error {
		for _, n := range p.Numbers {
			if err := p.Out.Put(ctx, n*n); err != nil {
				return err
			}
		}
		return nil
	})
	putNegatives = process.Register(func(ctx context.Context, p production) error {
		for _, n := range p.Numbers {
			if err := p.Out.Put(ctx, -n); err != nil {
				return err
			}
		}
		return nil
	})
)

// A parcel is what the parent sends to a child, and gets back.
type parcel struct {
	To   *queue.Queue[string]
	Back *queue.Queue[string]
}

// greetAll answers each name until there are no more, and says of each that it is done.
var greetAll = process.Register(func(ctx context.Context, p parcel) error {
	for {
		name, err := p.To.Get(ctx)
		if errors.Is(err, queue.ErrClosed) {
			return p.Back.Shutdown()
		}
		if err != nil {
			return err
		}
		if err := p.Back.Put(ctx, "hello "+name); err != nil {
			return err
		}
		if err := p.To.TaskDone(); err != nil {
			return err
		}
	}
})

// A chore is what a child takes numbers from, and where it says which one it has.
type chore struct {
	From *queue.Queue[int]
	Have *queue.Queue[int]
}

// takeAndHang takes a message and never says that it is done with it.
var takeAndHang = process.Register(func(ctx context.Context, c chore) error {
	n, err := c.From.Get(ctx)
	if err != nil {
		return err
	}
	if err := c.Have.Put(ctx, n); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
})

// queues collects what two producers put, sends names to a child and gets greetings back, fills
// a queue of five, and loses a process that had taken a message.
func queues(ctx context.Context, s *stage) error {
	if err := twoProducers(ctx, s); err != nil {
		return err
	}
	if err := thereAndBack(ctx, s); err != nil {
		return err
	}
	return capacityAndLoss(ctx, s)
}

func twoProducers(ctx context.Context, s *stage) error {
	out, err := queue.New[int](queue.Options{})
	if err != nil {
		return err
	}
	defer out.Close()
	numbers := []int{1, 2, 3, 4, 5}
	producers := []*process.Process{
		process.New(putSquares, production{numbers, out}),
		process.New(putNegatives, production{numbers, out}),
	}
	if err := startAll(producers...); err != nil {
		return err
	}
	if err := joinAll(ctx, producers...); err != nil {
		return err
	}
	// Both have ended, and all that they put is there: no thread has to finish anything.
	all := make([]int, 20)
	n, err := out.GetMany(ctx, all)
	if err != nil {
		return err
	}
	var squares, negatives []int
	for _, v := range all[:n] {
		if v > 0 {
			squares = append(squares, v)
		} else {
			negatives = append(negatives, v)
		}
	}
	s.say("in the order of arrival: %v", all[:n])
	s.check(slices.Equal(squares, []int{1, 4, 9, 16, 25}) && slices.Equal(negatives, []int{-1, -2, -3, -4, -5}),
		"two producers, each in its order: %v %v", squares, negatives)
	return nil
}

func thereAndBack(ctx context.Context, s *stage) error {
	to, err := queue.New[string](queue.Options{})
	if err != nil {
		return err
	}
	defer to.Close()
	back, err := queue.New[string](queue.Options{})
	if err != nil {
		return err
	}
	defer back.Close()
	child := process.New(greetAll, parcel{to, back})
	if err := child.Start(); err != nil {
		return err
	}
	for _, name := range []string{"Ada", "Grace", "Barbara"} {
		if err := to.Put(ctx, name); err != nil {
			return err
		}
	}
	// Join waits until TaskDone was called for each of them.
	if err := to.Join(ctx); err != nil {
		return err
	}
	s.check(back.Len() == 3, "Join returns when the child is done with all: %d answers are there", back.Len())
	if err := to.Shutdown(); err != nil {
		return err
	}
	var answers []string
	for {
		answer, err := back.Get(ctx)
		if errors.Is(err, queue.ErrClosed) {
			break
		}
		if err != nil {
			return err
		}
		answers = append(answers, answer)
	}
	s.check(slices.Equal(answers, []string{"hello Ada", "hello Grace", "hello Barbara"}), "to a child and back: %q", answers)
	return child.Join(ctx)
}

func capacityAndLoss(ctx context.Context, s *stage) error {
	five, err := queue.New[int](queue.Options{Capacity: 5})
	if err != nil {
		return err
	}
	defer five.Close()
	for i := range 5 {
		if err := five.Put(ctx, i); err != nil {
			return err
		}
	}
	ok, err := five.TryPut(5)
	if err != nil {
		return err
	}
	sixth := make(chan error)
	go func() { sixth <- five.Put(ctx, 5) }() // waits for room
	first, err := five.Get(ctx)
	if err != nil {
		return err
	}
	if err := <-sixth; err != nil {
		return err
	}
	if err := five.TaskDone(); err != nil {
		return err
	}
	s.check(!ok && first == 0 && five.Len() == 5, "capacity 5: the sixth waits until the first is taken")

	have, err := queue.New[int](queue.Options{})
	if err != nil {
		return err
	}
	defer have.Close()
	child := process.New(takeAndHang, chore{five, have})
	if err := child.Start(); err != nil {
		return err
	}
	if _, err := have.Get(ctx); err != nil {
		return err
	}
	for range 4 {
		if _, err := five.Get(ctx); err != nil {
			return err
		}
		if err := five.TaskDone(); err != nil {
			return err
		}
	}
	if err := child.Kill(); err != nil {
		return err
	}
	_ = child.Join(ctx)
	err = five.Join(ctx)
	s.say("%v", err)
	s.check(errors.Is(err, psync.ErrOwnerDied), "Join says that a killed child had taken a message")
	return nil
}
