package manager_test

import (
	"strconv"
	"testing"

	"github.com/go-multiproc/multiproc/manager"
)

// Who watches and stays away costs the server a bounded number of keys, and is told then that everything may have changed.
func TestWatchIsBounded(t *testing.T) {
	w, ctx := watch(t), testContext(t)
	for name, c := range map[string]struct {
		keys   int
		length int // of a key
		all    bool
	}{"few": {4000, 1, false}, "many": {5000, 1, true}, "few but long": {20, 60 << 10, true}} {
		d := must[*manager.Dict[string, int]](t)(manager.NewDict[string, int](w.m))
		watched := must[*manager.Watch[manager.DictChange[string, int]]](t)(d.Watch(ctx))
		entries := map[string]int{}
		for i := range c.keys {
			key := strconv.Itoa(i)
			entries[key+string(make([]byte, c.length))] = i
		}
		check(t, d.BatchSet(ctx, entries))
		e, err := watched.Next(ctx)
		if err != nil || e.All != c.all || e.Present == c.all {
			t.Errorf("%s: %v keys, all %v, %v", name, c.keys, e.All, err)
		}
		// And it goes on.
		check(t, d.Set(ctx, "one more", 7))
		for e.Key != "one more" {
			if e, err = watched.Next(ctx); err != nil {
				t.Fatal(name, err)
			}
		}
		if e.Value != 7 || !e.Present {
			t.Errorf("%s: %+v", name, e)
		}
		check(t, watched.Close())
	}
}
