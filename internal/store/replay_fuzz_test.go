package store_test

import (
	"testing"

	"github.com/go-multiproc/multiproc/internal/journal"
	"github.com/go-multiproc/multiproc/internal/store"
)

// Any records are loaded or refused, and what was loaded can be used. Each is given with its length before it.
func FuzzReplay(f *testing.F) {
	// What a store with some of everything notes.
	dir := f.TempDir()
	st := openStore(f, dir)
	s := st.NewSession()
	for name, k := range map[string]store.Kind{"dict": store.KindDict, "list": store.KindList, "set": store.KindSet} {
		if _, err := s.Open(name, k, "", true); err != nil {
			f.Fatal(err)
		}
	}
	queue, _ := s.Open("queue", store.KindQueue, "", true, 0, 2)
	id, _ := s.Open("dict", store.KindDict, "", false)
	d, _ := s.Dict(id)
	d.Set(store.NoWait, s, []byte("k"), store.Value{Data: "v", Refs: []store.ID{queue}})
	id, _ = s.Open("list", store.KindList, "", false)
	l, _ := s.List(id)
	l.Append(s, []store.Value{{Data: "b"}, {Data: "a"}})
	l.Reverse()
	q, _ := s.Queue(queue)
	q.PutMany(s, []store.Value{{Data: "m"}, {Data: "n"}})
	for range 4 { // both become dead letters
		if err := q.Lease(s, &store.Wait{ID: 9}); err != nil {
			f.Fatal(err)
		}
		if err := q.Nack(s, 9); err != nil {
			f.Fatal(err)
		}
	}
	q.Put(s, &store.Wait{ID: 9}, store.Value{Data: "o"})
	q.Shutdown()
	own, o := openOwn(f, s, "own")
	for _, v := range []store.Value{{Data: "state"}, {Data: "another", Refs: []store.ID{queue, own}}, {Refs: []store.ID{queue}}} {
		if err := keepState(s, o, v); err != nil {
			f.Fatal(err)
		}
	}
	if err := st.Close(); err != nil {
		f.Fatal(err)
	}
	var all []byte
	j, err := journal.Open(dir+"/", journal.Options{Reserve: 1}, func(r *journal.Reader, _ uint64) error {
		b := r.Rest()
		all = append(append(all, byte(len(b))), b...)
		return nil
	})
	if err != nil {
		f.Fatal(err)
	}
	j.Close()
	f.Add(all, byte(0))
	f.Add(all, byte(3))
	f.Fuzz(func(t *testing.T, b []byte, snapshot byte) {
		var records [][]byte
		for len(b) > 0 {
			n := min(int(b[0]), len(b)-1)
			record := b[1 : 1+n]
			b = b[1+n:]
			if r := journal.NewReader(record); r.Uint() > 0 && r.Uint() == 1 && store.Kind(r.Uint()) == store.KindArray {
				continue // may be as large as memory, and rightly so
			}
			records = append(records, record)
		}
		st, err := store.Replay(records, int(snapshot))
		defer func() { st.Close() }() // there is one with an error, too
		if err != nil {
			return
		}
		st.Stats()
		s := st.NewSession()
		defer s.End()
		if id, err := s.Open("dict", store.KindDict, "", false); err == nil {
			d, _ := s.Dict(id)
			d.Set(store.NoWait, s, []byte("k"), store.Value{Data: "v"})
			d.Snapshot().Free()
		}
		if id, err := s.Open("own", store.KindOwn, "", false); err == nil {
			o, _ := s.Own(id)
			_, tokens, _ := o.Lend()
			st.Withdraw(tokens)
			if err := o.Keep(store.Value{Data: "s"}, nil); err != nil {
				t.Error(err)
			}
		}
	})
}
