package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/process"
)

// office is what children are given: containers that live in the manager's process.
type office struct {
	Person *manager.Dict[string, any]
	Scores *manager.List[int]
	Rooms  *manager.List[*manager.Dict[string, int]] // a list of dicts
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
	room, err := o.Rooms.Get(ctx, 0) // a handle: what is done to it, everybody sees
	if err != nil {
		return err
	}
	defer room.Close()
	return room.Set(ctx, "chairs", 12)
})

var visitRoom = process.Register(func(ctx context.Context, room *manager.Dict[string, int]) error {
	for range 50 {
		_, err := room.Update(ctx, "visits", func(n int, _ bool) (int, error) { return n + 1, nil })
		if err != nil {
			return err
		}
	}
	return nil
})

// managers keeps a dict and a list in a server process, where children change them.
func managers(ctx context.Context, s *stage) error {
	m, err := manager.Start(manager.Options{})
	if err != nil {
		return err
	}
	defer m.Shutdown(context.WithoutCancel(ctx))

	person, err := manager.NewDict[string, any](m)
	if err != nil {
		return err
	}
	scores, err := manager.NewList[int](m)
	if err != nil {
		return err
	}
	rooms, err := manager.NewList[*manager.Dict[string, int]](m)
	if err != nil {
		return err
	}
	room, err := manager.NewDict[string, int](m)
	if err != nil {
		return err
	}
	if err := rooms.Append(ctx, room); err != nil {
		return err
	}

	p := process.New(work, office{person, scores, rooms})
	if err := p.Start(); err != nil {
		return err
	}
	if err := p.Join(ctx); err != nil {
		return err
	}
	about, err := person.Snapshot(ctx)
	if err != nil {
		return err
	}
	s.check(fmt.Sprint(about) == "map[age:36 name:Ada]", "the dict that a child filled: %v", about)
	list, err := scores.Snapshot(ctx)
	if err != nil {
		return err
	}
	s.check(slices.Equal(list, []int{7, 8, 9}), "the list that a child appended to: %v", list)
	chairs, _, err := room.Get(ctx, "chairs")
	if err != nil {
		return err
	}
	s.check(chairs == 12, "the dict inside a list, changed by a child: %d chairs", chairs)

	visitors := make([]*process.Process, 4)
	for i := range visitors {
		visitors[i] = process.New(visitRoom, room)
	}
	if err := startAll(visitors...); err != nil {
		return err
	}
	if err := joinAll(ctx, visitors...); err != nil {
		return err
	}
	visits, _, err := room.Get(ctx, "visits")
	if err != nil {
		return err
	}
	s.check(visits == 200, "4 children added 1 fifty times, atomically: %d", visits)
	return m.Shutdown(ctx)
}
