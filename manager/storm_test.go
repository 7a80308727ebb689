package manager_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/process"
)

type stormJob struct {
	Seed  uint64
	Top   *manager.Dict[int, *manager.List[int]]
	Total *manager.Dict[string, int]
	Self  *manager.List[*manager.Dict[int, *manager.List[int]]]
}

// storm does a bit of everything until it is killed.
var storm = process.Register(func(ctx context.Context, j stormJob) error {
	r := rand.New(rand.NewPCG(j.Seed, 0))
	for {
		k := r.IntN(20)
		var err error
		switch r.IntN(7) {
		case 0:
			var l *manager.List[int]
			if l, _, err = j.Top.Get(ctx, k); l != nil {
				err = errors.Join(err, l.Append(ctx, k), l.Close())
			}
		case 1:
			_, err = j.Top.Delete(ctx, k)
		case 2:
			_, err = j.Total.Update(ctx, "n", func(n int, _ bool) (int, error) { return n + 1, nil })
		case 3:
			err = j.Total.BatchSet(ctx, map[string]int{"x": k, "y": k})
		case 4:
			_, err = j.Top.Snapshot(ctx)
		case 5:
			_, err = j.Self.Get(ctx, 0)
		case 6:
			_, err = j.Top.Update(ctx, k, func(l *manager.List[int], ok bool) (*manager.List[int], error) {
				if !ok {
					return nil, errAbsent
				}
				return l, nil
			})
			if err == errAbsent {
				err = nil
			}
		}
		if err != nil {
			return err
		}
	}
})

var errAbsent = errors.New("absent")

// Children that are killed at any moment leave whole values and nothing else.
func TestKillStorm(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	ctx := testContext(t)
	m := start(t, manager.Options{})
	top, err1 := manager.NewDict[int, *manager.List[int]](m)
	total, err2 := manager.NewDict[string, int](m)
	self, err3 := manager.NewList[*manager.Dict[int, *manager.List[int]]](m)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	if err := self.Append(ctx, top); err != nil {
		t.Fatal(err)
	}
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		var children []*process.Process
		for i := range 3 {
			p := process.New(storm, stormJob{seed + uint64(3*round+i), top, total, self})
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			children = append(children, p)
		}
		for k := range 20 {
			l, err := manager.NewList[int](m)
			if err == nil {
				err = errors.Join(l.Append(ctx, k), top.Set(ctx, k, l), l.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Duration(r.IntN(20_000)) * time.Microsecond) // where they die is to be random
		for _, p := range children {
			p.Kill()
			<-p.Done()
			var exit *process.ExitError
			if err := p.Join(ctx); !errors.As(err, &exit) || exit.Err != "" {
				t.Errorf("a child ended by itself: %v", err)
			}
		}
		if v, err := total.BatchGet(ctx, []string{"x", "y"}); v["x"] != v["y"] || err != nil {
			t.Errorf("half a batch: %v, %v", v, err)
		}
	}
	// What they held has gone with them.
	if err := self.Set(ctx, 0, nil); err != nil {
		t.Fatal(err)
	}
	lists, err := top.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for k, l := range lists {
		if v, err := l.Get(ctx, 0); v != k || err != nil {
			t.Errorf("list %d begins with %d, %v", k, v, err)
		}
		l.Close()
		if _, err := top.Delete(ctx, k); err != nil {
			t.Error(err)
		}
	}
	objects(t, m, 3)
	runtime.KeepAlive(top)
	runtime.KeepAlive(self)
	s, err := m.Stats(ctx)
	if err != nil || s.Sessions != 1 || s.Updating != 0 || s.InTransit != 0 {
		t.Errorf("left: %+v, %v", s, err)
	}
	if n, _, err := total.Get(ctx, "n"); err != nil {
		t.Error(err)
	} else {
		t.Logf("%d updates", n)
	}
}
