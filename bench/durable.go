package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/process"
)

// What it costs that a manager's server keeps what it is told (Options.Path), beside one that does not.
var durableGroup = group{
	name:        "durable",
	rounds:      5,
	experiments: durableExperiments,
	comparisons: []comparison{
		{what: "Dict.Set, kept, synced each second", ours: "kept set", against: "not kept", theirs: "plain set", faster: 0.7},
		{what: "write(2) of 64 bytes", ours: "bare write", against: "Dict.Set, not kept", theirs: "plain set"},
		{what: "Dict.Set over the socket, kept", ours: "socket kept set", against: "not kept", theirs: "socket plain set", faster: 0.7},
		{what: "Get and Set, 16 goroutines", ours: "kept 16", against: "not kept", theirs: "plain 16", faster: 0.7},
		{what: "Get and Set, 4 processes", ours: "kept 4", against: "not kept", theirs: "plain 4", faster: 0.7},
		{what: "BatchSet of 1,000, per entry", ours: "kept batch", against: "not kept", theirs: "plain batch", faster: 0.7},
		{what: "Dict.Set, synced before it returns", ours: "synced set", against: "write and fsync of 100 bytes", theirs: "bare fsync"},
		{what: "restart with 1,000,000 entries", ours: "restart", against: "writing them with BatchSet", theirs: "fill", unit: "s"},
	},
}

// longer is how many times the usual number of calls is made, which take 20 ms: what is written every now and then, and synced each second,
// is to be in all of them.
const longer = 10

func durableExperiments(ctx context.Context) (_ []experiment, _ func(), err error) {
	var ends undoing
	defer ends.runIf(&err)
	dir, err := os.MkdirTemp("", "multiproc-bench-")
	if err != nil {
		return nil, nil, err
	}
	ends = append(ends, func() { os.RemoveAll(dir) })
	dict := func(o manager.Options) (*manager.Dict[string, int], error) {
		m, err := manager.Start(o)
		if err != nil {
			return nil, err
		}
		ends = append(ends, func() { m.Close() })
		return manager.OpenDict[string, int](m, "hash")
	}
	var experiments []experiment
	for _, side := range []struct {
		name string
		o    manager.Options
	}{{"plain", manager.Options{}}, {"kept", manager.Options{Path: filepath.Join(dir, "kept")}}} {
		d, err := dict(side.o)
		if err != nil {
			return nil, nil, err
		}
		c, err := newCrew(4, managerClient{Dict: d})
		ends = append(ends, c.end)
		if err != nil {
			return nil, nil, err
		}
		experiments = append(experiments, keyedExperiments(side.name, ourDict{d}, c, longer)...)
	}
	each := len(experiments) / 2
	var inTurn []experiment
	for i := range each {
		inTurn = append(inTurn, experiments[i], experiments[each+i])
	}
	for _, side := range []struct {
		name string
		o    manager.Options
	}{{"socket plain", manager.Options{NoRings: true}}, {"socket kept", manager.Options{NoRings: true, Path: filepath.Join(dir, "kept by socket")}}} {
		d, err := dict(side.o)
		if err != nil {
			return nil, nil, err
		}
		inTurn = append(inTurn, keyedExperiments(side.name, ourDict{d}, nil, longer)[0])
	}
	synced, err := dict(manager.Options{Path: filepath.Join(dir, "synced"), Sync: manager.SyncAlways})
	if err != nil {
		return nil, nil, err
	}
	bare, err := os.Create(filepath.Join(dir, "bare"))
	if err != nil {
		return nil, nil, err
	}
	ends = append(ends, func() { bare.Close() })
	return append(inTurn,
		experiment{"bare write", func(context.Context) (figures, error) {
			const n = 5_000
			record := make([]byte, 64)
			ns, err := perOp(n, func() error {
				for range n {
					if _, err := bare.Write(record); err != nil {
						return err
					}
				}
				return nil
			})
			return figures{"bare write": ns}, err
		}},
		experiment{"synced", func(ctx context.Context) (figures, error) {
			const n = 50
			ours, err := perOp(n, func() error {
				for i := range n {
					if err := synced.Set(ctx, "key", i); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
			record := make([]byte, 100)
			theirs, err := perOp(n, func() error {
				for range n {
					if _, err := bare.Write(record); err != nil {
						return err
					}
					if err := bare.Sync(); err != nil {
						return err
					}
				}
				return nil
			})
			return figures{"synced set": ours, "bare fsync": theirs}, err
		}},
		experiment{"restart", func(ctx context.Context) (figures, error) { return restart(ctx, dir) }},
	), ends.run, nil
}

// restart writes a million entries, kills the server, and starts the next one.
func restart(ctx context.Context, dir string) (figures, error) {
	const n = 1_000_000
	path, err := os.MkdirTemp(dir, "restart-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(path)
	before := process.Children()
	m, err := manager.Start(manager.Options{Path: path})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	d, err := manager.OpenDict[int, int](m, "million")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	began := time.Now()
	entries := map[int]int{}
	for i := range n {
		if entries[i] = i; len(entries) == 10_000 {
			if err := d.BatchSet(ctx, entries); err != nil {
				return nil, err
			}
			clear(entries)
		}
	}
	found := figures{"fill": time.Since(began).Seconds()}
	for _, p := range process.Children() {
		if !slices.Contains(before, p) { // the server
			p.Kill()
			<-p.Done()
		}
	}
	began = time.Now()
	again, err := manager.Start(manager.Options{Path: path})
	if err != nil {
		return nil, err
	}
	defer again.Close()
	found["restart"] = time.Since(began).Seconds()
	all, err := manager.OpenDict[int, int](again, "million")
	if err != nil {
		return nil, err
	}
	defer all.Close()
	if has, err := all.Len(ctx); err != nil || has != n {
		return nil, fmt.Errorf("%d of %d entries are there after a kill: %w", has, n, err)
	}
	return found, nil
}
