package store_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/store"
)

// While sessions pass references between containers and let go of them, garbage is looked for again and again. What can be reached always stays, and in the end
// nothing else does.
func TestTraceBesideChanges(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	st := store.New(store.Options{})
	defer st.Close()
	const workers, slots, each = 4, 20, 4000
	stop := make(chan struct{})
	var tracer, work sync.WaitGroup
	tracer.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				st.Settle()
			}
		}
	})
	for w := range workers {
		work.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(w)))
			s := st.NewSession()
			defer s.End()
			root, err := s.Open(fmt.Sprint("root ", w%2), store.KindDict, "", true)
			if err != nil {
				t.Error(err)
				return
			}
			at := root // where the session is: it walks down into dicts, and starts again at its root
			for range each {
				d, err := s.Dict(at)
				if err != nil {
					t.Errorf("object %d was freed while it could be reached: %v", at, err)
					return
				}
				key := []byte{byte(random.IntN(slots))}
				switch random.IntN(6) {
				case 0, 1: // down
					v, ok, err := d.Get(s, key)
					if err != nil {
						t.Error(err)
						return
					}
					if ok {
						if at != root {
							s.Release(at, 1)
						}
						at = v.Refs[0]
					}
				case 2: // something new
					id, err := s.Create(store.KindDict, "")
					if err == nil {
						err = d.Set(store.NoWait, s, key, store.Value{Data: "new", Refs: []store.ID{id}})
					}
					if err == nil {
						err = s.Release(id, 1)
					}
					if err != nil {
						t.Error(err)
						return
					}
				case 3: // a circle
					if err := d.Set(store.NoWait, s, key, store.Value{Data: "up", Refs: []store.ID{root}}); err != nil {
						t.Error(err)
						return
					}
				case 4: // let go
					if _, err := d.Delete(store.NoWait, key); err != nil {
						t.Error(err)
						return
					}
				case 5: // from here to the root, and begin again there
					r, err := s.Dict(root)
					if err == nil {
						err = r.Set(store.NoWait, s, key, store.Value{Data: "moved", Refs: []store.ID{at}})
					}
					if err != nil {
						t.Error(err)
						return
					}
					if at != root {
						s.Release(at, 1)
					}
					at = root
				}
			}
		})
	}
	work.Wait()
	close(stop)
	tracer.Wait()
	// What names lead to is all there, and it is all there is.
	s := st.NewSession()
	reached := map[store.ID]bool{}
	var open []store.ID
	for i := range 2 {
		id, err := s.Open(fmt.Sprint("root ", i), store.KindDict, "", false)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, id)
	}
	for len(open) > 0 {
		id := open[len(open)-1]
		open = open[:len(open)-1]
		if reached[id] {
			continue
		}
		reached[id] = true
		d, err := s.Dict(id)
		if err != nil {
			t.Fatalf("object %d was freed: %v", id, err)
		}
		if _, _, err := d.Page(s, 0, func(_ string, v store.Value) bool { open = append(open, v.Refs...); return true }); err != nil {
			t.Fatal(err)
		}
	}
	s.End()
	st.Settle()
	if n := st.Stats().Objects[store.KindDict]; n != len(reached) {
		t.Errorf("%d objects live, and %d can be reached", n, len(reached))
	}
}

// How long others have to wait for the graph of a million objects at the most, while garbage is looked for in it.
func BenchmarkTraceOfAMillion(b *testing.B) {
	st := store.New(store.Options{})
	defer st.Close()
	s := st.NewSession()
	root, _ := s.Create(store.KindList, "")
	l, _ := s.List(root)
	for range 1000 {
		inner, _ := s.Create(store.KindList, "")
		in, _ := s.List(inner)
		var values []store.Value
		for range 1000 {
			id, err := s.Create(store.KindList, "")
			if err != nil {
				b.Fatal(err)
			}
			values = append(values, store.Value{Refs: []store.ID{id}})
		}
		in.Append(s, values)
		for _, v := range values {
			s.Release(v.Refs[0], 1)
		}
		l.Append(s, []store.Value{{Refs: []store.ID{inner}}})
		s.Release(inner, 1)
	}
	var worst time.Duration
	for b.Loop() {
		done := make(chan struct{})
		go func() { st.Settle(); close(done) }()
		for running := true; running; {
			select {
			case <-done:
				running = false
			default:
			}
			began := time.Now()
			id, err := s.Create(store.KindList, "")
			if err != nil {
				b.Fatal(err)
			}
			s.Release(id, 1)
			worst = max(worst, time.Since(began))
		}
	}
	b.ReportMetric(float64(worst.Microseconds()), "worst-µs")
}
