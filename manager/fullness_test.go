package manager_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/manager"
)

// Who would make a server hold more than it may gets ErrLimit, with the option's name, and nothing is done. What removes something goes on, and so
// does everything after that.
func TestStoreLimits(t *testing.T) {
	ctx := testContext(t)
	for _, test := range []struct {
		name string
		o    manager.Options
		fill func(m *manager.Manager, d *manager.Dict[int, string], i int) error // until it is refused
		free func(d *manager.Dict[int, string], i int) error
	}{
		{"MaxObjects", manager.Options{MaxObjects: 10},
			func(m *manager.Manager, d *manager.Dict[int, string], i int) error {
				_, err := manager.OpenList[int](m, fmt.Sprint("list ", i))
				return err
			}, nil},
		{"MaxEntries", manager.Options{MaxEntries: 100},
			func(_ *manager.Manager, d *manager.Dict[int, string], i int) error { return d.Set(ctx, i, "") },
			func(d *manager.Dict[int, string], i int) error { _, err := d.Delete(ctx, i); return err }},
		{"MaxMemory", manager.Options{MaxMemory: 1 << 20},
			func(_ *manager.Manager, d *manager.Dict[int, string], i int) error {
				return d.Set(ctx, i, strings.Repeat("v", 5000))
			},
			func(d *manager.Dict[int, string], i int) error { _, err := d.Delete(ctx, i); return err }},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := start(t, test.o)
			d := mustOpen[*manager.Dict[int, string]](t)(manager.OpenDict[int, string](m, "d"))
			defer d.Close()
			i := 0
			var err error
			for ; err == nil && i < 1000; i++ {
				err = test.fill(m, d, i)
			}
			if !errors.Is(err, manager.ErrLimit) || !strings.Contains(err.Error(), "Options."+test.name) {
				t.Fatalf("after %d: %v", i, err)
			}
			i-- // this one was refused
			s, err := m.Stats(ctx)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, k := range s.Objects {
				n += k
			}
			if o := test.o; o.MaxObjects > 0 && n != o.MaxObjects || o.MaxEntries > 0 && s.Entries != o.MaxEntries || o.MaxMemory > 0 && (s.Memory > o.MaxMemory || s.Memory < o.MaxMemory*9/10) {
				t.Errorf("%d objects, %d entries, %d bytes with %+v", n, s.Entries, s.Memory, o)
			}
			if test.free == nil {
				if err := m.Remove(ctx, "list 0"); err != nil {
					t.Fatal(err)
				}
				if _, err := manager.OpenDict[int, string](m, "d"); err != nil {
					t.Errorf("opening what is there: %v", err)
				}
				return
			}
			if has, err := d.Contains(ctx, i); err != nil || has {
				t.Errorf("what was refused is there: %v, %v", has, err)
			}
			if _, ok, err := d.Get(ctx, 0); err != nil || !ok {
				t.Errorf("reading: %v, %v", ok, err)
			}
			if err := test.free(d, 0); err != nil {
				t.Errorf("removing something: %v", err)
			}
			if err := test.fill(m, d, i); err != nil {
				t.Errorf("when there is room again: %v", err)
			}
		})
	}
}

// A server that is killed while it still reads what it kept, and is then making a snapshot of it, loses nothing either.
func TestKilledInRecovery(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	ctx := testContext(t)
	manager.TuneJournal(t, 1000, time.Millisecond, 1<<20)
	o := manager.Options{Path: t.TempDir()}
	const n = 50_000
	m, err := manager.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	d := mustOpen[*manager.Dict[int, int]](t)(manager.OpenDict[int, int](m, "d"))
	entries := map[int]int{}
	for i := range n {
		if entries[i] = i; len(entries) == 5000 {
			if err := d.BatchSet(ctx, entries); err != nil {
				t.Fatal(err)
			}
			clear(entries)
		}
	}
	kill(t, m)
	for range 15 {
		ends := make(chan error, 1)
		startCtx, cancel := context.WithCancel(ctx)
		go func() {
			m, err := manager.Start(o)
			if err == nil {
				<-startCtx.Done()
				m.Close()
			}
			ends <- err
		}()
		// It is up to 40 ms into its life: reading, or making a snapshot, or just done.
		time.Sleep(time.Duration(random.IntN(40)) * time.Millisecond)
		manager.KillServers()
		cancel()
		<-ends
	}
	m = start(t, o)
	d = mustOpen[*manager.Dict[int, int]](t)(manager.OpenDict[int, int](m, "d"))
	all, err := d.Snapshot(ctx)
	if err != nil || len(all) != n {
		t.Fatalf("%d entries, %v", len(all), err)
	}
	for i, v := range all {
		if i != v {
			t.Fatalf("entry %d is %d", i, v)
		}
	}
}
