package queue_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/go-multiproc/multiproc/queue"
	"github.com/go-multiproc/multiproc/shm"
)

// An operator sees how full a named Queue is, and who took what without a TaskDone.
func TestInspect(t *testing.T) {
	name := fmt.Sprintf("inspected-queue-%d", os.Getpid())
	q, err := queue.Create[int64](name, queue.Options{Capacity: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	defer queue.Remove(name)
	for i := range int64(4) {
		if err := q.Put(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := q.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := shm.Inspect(name)
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]shm.Part{}
	for _, p := range st.Parts {
		parts[p.What] = p
	}
	m := parts["messages"]
	if m.All != 10 || m.Free != 7 {
		t.Errorf("%d free of %d, want 7 of 10", m.Free, m.All)
	}
	if len(m.Holders) != 1 || m.Holders[0].PID != os.Getpid() || m.Holders[0].N != 1 {
		t.Errorf("who owes a TaskDone: %+v", m.Holders)
	}
	if b := parts["bytes"]; b.All != 1<<20 || b.Free >= b.All || b.Free < b.All-200 {
		t.Errorf("%d bytes free of %d", b.Free, b.All)
	}
	for _, lock := range []string{"producers", "consumers"} {
		if p, ok := parts[lock]; !ok || len(p.Holders) != 0 || p.Abandoned {
			t.Errorf("%s: %+v", lock, p)
		}
	}
}
