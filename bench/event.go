package main

import (
	"context"

	"github.com/go-multiproc/multiproc/psync"
)

var eventGroup = group{
	name:        "event",
	experiments: eventExperiments,
	comparisons: []comparison{
		{what: "Event IsSet, of one that is set", ours: "is set", against: "Python event.is_set()", theirs: "python is_set", faster: 50},
		{what: "Event Wait, of one that is set", ours: "wait", against: "Python event.wait()", theirs: "python wait", faster: 50},
		{what: "Event Set and Clear", ours: "set clear", against: "Python event.set(), event.clear()", theirs: "python set clear", faster: 50},
	},
}

func eventExperiments(context.Context) ([]experiment, func(), error) {
	e, err := psync.NewEvent()
	if err != nil {
		return nil, nil, err
	}
	const n = 2_000_000
	times := func(figure string, f func(ctx context.Context) error) experiment {
		return experiment{figure, func(ctx context.Context) (figures, error) {
			if err := e.Set(); err != nil {
				return nil, err
			}
			ns, err := perOp(n, func() error {
				for range n {
					if err := f(ctx); err != nil {
						return err
					}
				}
				return nil
			})
			return figures{figure: ns}, err
		}}
	}
	return []experiment{
		times("is set", func(context.Context) error {
			if !e.IsSet() {
				return context.Canceled
			}
			return nil
		}),
		times("wait", e.Wait),
		times("set clear", func(context.Context) error {
			if err := e.Clear(); err != nil {
				return err
			}
			return e.Set()
		}),
		python("event.py"),
	}, func() { e.Close() }, nil
}
