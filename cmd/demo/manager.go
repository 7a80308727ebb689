package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/queue"
)

// office is what children are given: objects that live in the manager's process.
type office struct {
	Person   *manager.Dict[string, any]
	Scores   *manager.List[int]
	Tags     *manager.Set[string]
	Rooms    *manager.List[*manager.Dict[string, int]] // a list of dicts
	Settings *manager.Namespace
	Jobs     *manager.Queue[int]
	Lock     *manager.Mutex
}

func newOffice(m *manager.Manager) (o office, err error) {
	var errs [7]error
	o.Person, errs[0] = manager.NewDict[string, any](m)
	o.Scores, errs[1] = manager.NewList[int](m)
	o.Tags, errs[2] = manager.NewSet[string](m)
	o.Rooms, errs[3] = manager.NewList[*manager.Dict[string, int]](m)
	o.Settings, errs[4] = manager.NewNamespace(m)
	o.Jobs, errs[5] = manager.NewQueue[int](m, manager.QueueOptions{Capacity: 5})
	o.Lock, errs[6] = manager.NewMutex(m)
	return o, errors.Join(errs[:]...)
}

var work = process.Register(func(ctx context.Context, o office) error {
	if err := o.Person.Set(ctx, "name", "Ada"); err != nil {
		return err
	}
	if err := o.Person.Set(ctx, "age", 36); err != nil {
		return err
	}
	if err := o.Scores.Append(ctx, 7, 8, 9); err != nil {
		return err
	}
	if _, err := o.Tags.Add(ctx, "new", "kind", "new"); err != nil {
		return err
	}
	if err := manager.NamespaceSet(ctx, o.Settings, "motto", "share and enjoy"); err != nil {
		return err
	}
	room, err := o.Rooms.Get(ctx, 0) // a handle: what is done to it, everybody sees
	if err != nil {
		return err
	}
	defer room.Close()
	return room.Set(ctx, "chairs", 12)
})

// visitRoom changes one number in three ways that lose nothing: in the server, here while others wait, and with a lock around reading and writing.
var visitRoom = process.Register(func(ctx context.Context, o office) error {
	room, err := o.Rooms.Get(ctx, 0)
	if err != nil {
		return err
	}
	defer room.Close()
	for range 50 {
		if _, err := manager.Add(ctx, room.At("added"), 1); err != nil {
			return err
		}
		if _, err := room.Update(ctx, "updated", func(n int, _ bool) (int, error) { return n + 1, nil }); err != nil {
			return err
		}
		if err := visitLocked(ctx, o.Lock, room); err != nil {
			return err
		}
	}
	return nil
})

func visitLocked(ctx context.Context, l *manager.Mutex, room *manager.Dict[string, int]) error {
	if err := l.Lock(ctx); err != nil {
		return err
	}
	defer l.Unlock()
	n, _, err := room.Get(ctx, "locked")
	if err != nil {
		return err
	}
	return room.Set(ctx, "locked", n+1)
}

// takeJobs works until the queue is shut down and empty.
var takeJobs = process.Register(func(ctx context.Context, o office) error {
	for {
		n, err := o.Jobs.Get(ctx)
		if errors.Is(err, queue.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := manager.Add(ctx, manager.NamespaceAt[int](o.Settings, "sum of squares"), n*n); err != nil {
			return err
		}
		if err := o.Jobs.TaskDone(ctx); err != nil {
			return err
		}
	}
})

// managers keeps objects in a server process, where children change them.
func managers(ctx context.Context, s *stage) error {
	m, err := manager.Start(manager.Options{})
	if err != nil {
		return err
	}
	defer m.Shutdown(context.WithoutCancel(ctx))
	o, err := newOffice(m)
	if err != nil {
		return err
	}
	room, err := manager.NewDict[string, int](m)
	if err != nil {
		return err
	}
	if err := o.Rooms.Append(ctx, room); err != nil {
		return err
	}

	p := process.New(work, o)
	if err := p.Start(); err != nil {
		return err
	}
	if err := p.Join(ctx); err != nil {
		return err
	}
	about, err := o.Person.Snapshot(ctx)
	if err != nil {
		return err
	}
	s.check(fmt.Sprint(about) == "map[age:36 name:Ada]", "the dict that a child filled: %v", about)
	scores, err := o.Scores.Snapshot(ctx)
	if err != nil {
		return err
	}
	s.check(slices.Equal(scores, []int{7, 8, 9}), "the list that a child appended to: %v", scores)
	tags, err := o.Tags.Snapshot(ctx)
	if err != nil {
		return err
	}
	s.check(slices.Equal(tags, []string{"new", "kind"}), "the set that a child added to, to one twice: %v", tags)
	motto, _, err := manager.NamespaceGet[string](ctx, o.Settings, "motto")
	if err != nil {
		return err
	}
	s.check(motto == "share and enjoy", "the namespace's attribute that a child set: %q", motto)
	chairs, _, err := room.Get(ctx, "chairs")
	if err != nil {
		return err
	}
	s.check(chairs == 12, "the dict inside a list, changed by a child: %d chairs", chairs)

	if err := managersQueue(ctx, s, o); err != nil {
		return err
	}
	if err := managersVisits(ctx, s, o, room); err != nil {
		return err
	}
	return m.Shutdown(ctx)
}

// managersQueue fills a queue up to its capacity before anybody takes from it.
func managersQueue(ctx context.Context, s *stage, o office) error {
	fits := 0
	for {
		ok, err := o.Jobs.TryPut(ctx, fits+1)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		fits++
	}
	s.check(fits == 5, "%d jobs fit in the queue", fits)
	workers := []*process.Process{process.New(takeJobs, o), process.New(takeJobs, o)}
	if err := startAll(workers...); err != nil {
		return err
	}
	for n := fits + 1; n <= 10; n++ {
		if err := o.Jobs.Put(ctx, n); err != nil { // waits for room
			return err
		}
	}
	if err := o.Jobs.Join(ctx); err != nil { // until they are done
		return err
	}
	sum, _, err := manager.NamespaceGet[int](ctx, o.Settings, "sum of squares")
	if err != nil {
		return err
	}
	s.check(sum == 385, "2 children took 10 jobs from it: 1² + … + 10² = %d", sum)
	if err := o.Jobs.Shutdown(ctx); err != nil {
		return err
	}
	return joinAll(ctx, workers...)
}

func managersVisits(ctx context.Context, s *stage, o office, room *manager.Dict[string, int]) error {
	visitors := make([]*process.Process, 4)
	for i := range visitors {
		visitors[i] = process.New(visitRoom, o)
	}
	if err := startAll(visitors...); err != nil {
		return err
	}
	if err := joinAll(ctx, visitors...); err != nil {
		return err
	}
	counts, err := room.Snapshot(ctx)
	if err != nil {
		return err
	}
	for _, how := range []string{"added", "updated", "locked"} {
		s.check(counts[how] == 200, "4 children added 1 fifty times, %s: %d", map[string]string{
			"added": "in the server", "updated": "with Update", "locked": "with a lock around get and set"}[how], counts[how])
	}
	return nil
}
