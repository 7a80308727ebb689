package main

import (
	"context"

	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/value"
)

var condGroup = group{
	name:        "cond",
	experiments: condExperiments,
	comparisons: []comparison{
		{what: "Cond, two processes take turns, round trip", ours: "cond turns", against: "Python Condition", theirs: "python turns", faster: 5},
		{what: "Cond Signal, nobody waits", ours: "cond signal", against: "Python with c: c.notify()", theirs: "python notify"},
		{what: "Barrier of two processes", ours: "barrier", against: "Python Barrier", theirs: "python barrier"},
	},
}

// A turn is what each of two processes does: Rounds times wait for its turn, and give the other
// one its turn.
type turn struct {
	Me      int64
	Rounds  int
	Whose   *value.Value[int64]
	Cond    *psync.Cond
	Barrier *psync.Barrier
}

var (
	turnsInChild  = process.Register(func(ctx context.Context, t turn) error { return t.run(ctx) })
	roundsInChild = process.Register(func(ctx context.Context, t turn) error { return t.meet(ctx) })
)

func (t turn) run(ctx context.Context) error {
	lock := t.Cond.Locker()
	for range t.Rounds {
		if err := lock.Lock(ctx); err != nil {
			return err
		}
		for t.Whose.Load() != t.Me {
			if err := t.Cond.Wait(ctx); err != nil {
				return err
			}
		}
		t.Whose.Store(1 - t.Me)
		if err := t.Cond.Signal(); err != nil {
			return err
		}
		if err := lock.Unlock(); err != nil {
			return err
		}
	}
	return nil
}

func (t turn) meet(ctx context.Context) error {
	for range t.Rounds {
		if _, err := t.Barrier.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

func condExperiments(context.Context) ([]experiment, func(), error) {
	whose, err := value.New[int64](0)
	if err != nil {
		return nil, nil, err
	}
	cond, err := psync.NewCond(nil)
	if err != nil {
		return nil, nil, err
	}
	barrier, err := psync.NewBarrier(2)
	if err != nil {
		return nil, nil, err
	}
	const rounds = 20_000
	// both has another process and this one do the same.
	both := func(figure string, child *process.Func[turn], here func(turn, context.Context) error) experiment {
		return experiment{figure, func(ctx context.Context) (figures, error) {
			t := turn{Rounds: rounds, Whose: whose, Cond: cond, Barrier: barrier}
			there := t
			there.Me, there.Rounds = 1, rounds+1
			t.Rounds = 1
			p := process.New(child, there)
			if err := p.Start(); err != nil {
				return nil, err
			}
			if err := here(t, ctx); err != nil { // the other one is there, too
				return nil, err
			}
			t.Rounds = rounds
			ns, err := perOp(rounds, func() error { return here(t, ctx) })
			if err != nil {
				return nil, err
			}
			return figures{figure: ns}, p.Join(ctx)
		}}
	}
	return []experiment{
		both("cond turns", turnsInChild, turn.run),
		both("barrier", roundsInChild, turn.meet),
		{"cond signal", func(context.Context) (figures, error) {
			const n = 2_000_000
			ns, err := perOp(n, func() error {
				for range n {
					if err := cond.Signal(); err != nil {
						return err
					}
				}
				return nil
			})
			return figures{"cond signal": ns}, err
		}},
		python("cond.py"),
	}, func() { barrier.Close(); cond.Close(); whose.Close() }, nil
}
