package main

import (
	"context"

	"github.com/go-multiproc/multiproc/manager"
)

var managerGroup = group{
	name:        "manager",
	experiments: managerExperiments,
	comparisons: []comparison{
		{what: "Dict.Set", ours: "set", against: "Python Manager().dict()", theirs: "python set"},
		{what: "Dict.Get", ours: "get", against: "Python Manager().dict()", theirs: "python get"},
	},
}

func managerExperiments(ctx context.Context) ([]experiment, func(), error) {
	m, err := manager.Start(manager.Options{})
	if err != nil {
		return nil, nil, err
	}
	d, err := manager.NewDict[string, int](m)
	if err != nil {
		m.Shutdown(ctx)
		return nil, nil, err
	}
	const n = 5_000
	return []experiment{
		{"set", func(ctx context.Context) (figures, error) {
			ns, err := perOp(n, func() error {
				for i := range n {
					if err := d.Set(ctx, "key", i); err != nil {
						return err
					}
				}
				return nil
			})
			return figures{"set": ns}, err
		}},
		{"get", func(ctx context.Context) (figures, error) {
			ns, err := perOp(n, func() error {
				for range n {
					if _, _, err := d.Get(ctx, "key"); err != nil {
						return err
					}
				}
				return nil
			})
			return figures{"get": ns}, err
		}},
		python("manager.py"),
	}, func() { d.Close(); m.Shutdown(ctx) }, nil
}
