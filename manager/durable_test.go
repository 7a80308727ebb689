package manager_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/process"
)

// kill kills a server and waits until it is dead.
func kill(t testing.TB, m *manager.Manager) {
	t.Helper()
	p := manager.ServerProcess(m)
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	m.Close()
}

func mustOpen[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// What was acknowledged is there after a kill: named objects, what they mention, and nothing else.
func TestPathOutlivesKill(t *testing.T) {
	ctx := testContext(t)
	for _, sync := range []manager.Sync{manager.SyncEachSecond, manager.SyncAlways, manager.SyncNever} {
		o := manager.Options{Path: t.TempDir(), Sync: sync}
		m, err := manager.Start(o)
		if err != nil {
			t.Fatal(err)
		}
		d := mustOpen[*manager.Dict[string, *manager.List[int]]](t)(manager.OpenDict[string, *manager.List[int]](m, "lists"))
		l := mustOpen[*manager.List[int]](t)(manager.NewList[int](m))
		unnamed := mustOpen[*manager.Dict[int, int]](t)(manager.NewDict[int, int](m))
		if err := errors.Join(d.Set(ctx, "a", l), l.Append(ctx, 1, 2), d.Set(ctx, "b", l), l.Append(ctx, 3), unnamed.Set(ctx, 1, 1)); err != nil {
			t.Fatal(err)
		}
		kill(t, m)
		if err := l.Append(ctx, 4); !errors.Is(err, manager.ErrDown) {
			t.Errorf("a handle from before the kill: %v", err)
		}
		m = start(t, o)
		d = mustOpen[*manager.Dict[string, *manager.List[int]]](t)(manager.OpenDict[string, *manager.List[int]](m, "lists"))
		for _, key := range []string{"a", "b"} {
			l, ok, err := d.Get(ctx, key)
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			if got, err := l.Snapshot(ctx); err != nil || fmt.Sprint(got) != "[1 2 3]" {
				t.Errorf("%s: %v, %v", key, got, err)
			}
		}
		if s, err := m.Stats(ctx); err != nil || s.Objects["dict"] != 1 || s.Objects["list"] != 1 || s.Journal == 0 {
			t.Errorf("%+v, %v", s, err)
		}
		if _, err := manager.OpenList[int](m, "lists"); !errors.Is(err, manager.ErrType) {
			t.Errorf("opened as another type: %v", err)
		}
	}
}

// A path belongs to one server at a time, and who comes second learns whose it is.
func TestPathInUse(t *testing.T) {
	o := manager.Options{Path: t.TempDir()}
	start(t, o)
	_, err := manager.Start(o)
	if err == nil || !strings.Contains(err.Error(), "in use by another server (process ") {
		t.Errorf("%v", err)
	}
}

type writing struct {
	D    *manager.Dict[string, int]
	L    *manager.List[string]
	Name string
	W    *os.File // says how far it has come, one line for each acknowledged write
}

// writeOn writes numbers in order until the server is gone, and says after each one that it was acknowledged.
var writeOn = process.Register(func(ctx context.Context, w writing) error {
	for i := 1; ; i++ {
		err := w.D.Set(ctx, w.Name, i)
		if err == nil && i%10 == 0 {
			// All of these at one moment, or none.
			err = w.L.Append(ctx, fmt.Sprint(w.Name, " ", i), fmt.Sprint(w.Name, " ", i))
		}
		if errors.Is(err, manager.ErrDown) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w.W, "%d\n", i); err != nil {
			return err
		}
	}
})

// Eight processes write while the server is killed, several times, in the midst of snapshots too. Each time every acknowledged write is there, and
// nothing half.
func TestKilledUnderWriters(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	ctx := testContext(t)
	o := manager.Options{Path: t.TempDir()}
	const writers = 8
	acknowledged := [writers]int{}
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	manager.TuneJournal(t, 20_000, time.Millisecond, 0)
	for round := range rounds {
		m, err := manager.Start(o)
		if err != nil {
			t.Fatal(err)
		}
		d := mustOpen[*manager.Dict[string, int]](t)(manager.OpenDict[string, int](m, "numbers"))
		l := mustOpen[*manager.List[string]](t)(manager.OpenList[string](m, "pairs"))
		counts, err := d.Snapshot(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for w, n := range acknowledged {
			if has := counts[fmt.Sprint(w)]; has < n {
				t.Fatalf("round %d: writer %d was told that %d is there, and it is %d", round, w, n, has)
			}
		}
		lines, err := l.Snapshot(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(lines)%2 != 0 {
			t.Fatalf("round %d: half an append is there", round)
		}
		for i := 0; i < len(lines); i += 2 {
			if lines[i] != lines[i+1] {
				t.Fatalf("round %d: half an append is there: %q, %q", round, lines[i], lines[i+1])
			}
		}
		var ps []*process.Process
		total := make(chan [2]int, 1000)
		for w := range writers {
			r, wr, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			ps = append(ps, run(t, writeOn, writing{d, l, fmt.Sprint(w), wr}))
			wr.Close()
			acknowledged[w] = 0
			go func() {
				defer r.Close()
				last := 0
				for {
					var n int
					if _, err := fmt.Fscanln(r, &n); err != nil {
						total <- [2]int{w, last}
						return
					}
					if last == 0 {
						total <- [2]int{w, -1}
					}
					last = n
				}
			}()
		}
		for range writers { // each of them is at work
			if n := <-total; n[1] != -1 {
				t.Fatalf("writer %d ended after %d", n[0], n[1])
			}
		}
		for range random.IntN(3000) {
			if _, err := m.Stats(ctx); err != nil {
				t.Fatal(err)
			}
		}
		kill(t, m)
		for range writers {
			n := <-total
			acknowledged[n[0]] = n[1]
		}
		join(t, ps...)
		d.Close()
		l.Close()
	}
}
