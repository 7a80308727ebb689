package manager_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/manager"
)

// Who comes later finds out what there is, without making anything, and so does who comes after a restart.
func TestNames(t *testing.T) {
	ctx := testContext(t)
	o := manager.Options{Path: t.TempDir()}
	m := start(t, o)
	names := func() []manager.Named { t.Helper(); return need[[]manager.Named](t)(m.Names(ctx)) }
	if got := names(); len(got) != 0 {
		t.Errorf("in the beginning: %v", got)
	}
	mustOpen[*manager.Queue[string]](t)(manager.OpenQueue[string](m, "jobs"))
	mustOpen[*manager.Dict[string, int]](t)(manager.OpenDict[string, int](m, "visits"))
	mustOpen[*manager.Mutex](t)(manager.OpenMutex(m, "a lock\xff"))
	mustOpen[*manager.List[int]](t)(manager.NewList[int](m))
	want := []manager.Named{{"a lock\xff", "mutex", "mutex"}, {"jobs", "queue", "queue[string]"}, {"visits", "dict", "dict[string]int64"}}
	if got := names(); !reflect.DeepEqual(got, want) {
		t.Errorf("%q instead of %q", got, want)
	}
	kill(t, m)
	m = start(t, o)
	if got := names(); !reflect.DeepEqual(got, want) {
		t.Errorf("after a restart %q instead of %q", got, want)
	}
	if err := m.Remove(ctx, "jobs"); err != nil {
		t.Fatal(err)
	}
	if got := names(); len(got) != 2 {
		t.Errorf("after Remove: %v", got)
	}
}

// More of them than fit in one reply.
func TestManyNames(t *testing.T) {
	ctx := testContext(t)
	m := start(t, manager.Options{})
	const n = 3000
	for i := range n {
		d, err := manager.OpenEvent(m, fmt.Sprintf("%05d%s", i, strings.Repeat("x", 200)))
		if err != nil {
			t.Fatal(err)
		}
		d.Close()
	}
	named, err := m.Names(ctx)
	if err != nil || len(named) != n {
		t.Fatal(len(named), err)
	}
	for i, e := range named {
		if want := fmt.Sprintf("%05d", i); e.Name[:5] != want || e.Kind != "event" {
			t.Fatalf("%d: %+v", i, e)
		}
	}
}
