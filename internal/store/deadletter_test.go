package store_test

import (
	"bytes"
	"testing"

	"github.com/go-multiproc/multiproc/internal/journal"
	"github.com/go-multiproc/multiproc/internal/store"
)

// A message on its way to the dead letters is in one of the two queues, wherever the journal ends.
func TestDeadLetterIsInOnePlace(t *testing.T) {
	dir := t.TempDir()
	st := openStore(t, dir)
	s := st.NewSession()
	id, err := s.Open("queue", store.KindQueue, "", true, 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	q, err := s.Queue(id)
	if err != nil {
		t.Fatal(err)
	}
	const messages = 3
	for range messages {
		if err := q.Put(s, &store.Wait{ID: 100}, store.Value{Data: "message"}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := q.Lease(s, &store.Wait{ID: 101}); err != nil {
				t.Fatal(err)
			}
			if err := q.Nack(s, 101); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	var records [][]byte
	j, err := journal.Open(dir, journal.Options{Reserve: 1}, func(r *journal.Reader, _ uint64) error {
		records = append(records, bytes.Clone(r.Rest()))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	j.Close()
	had := 0
	for n := range len(records) + 1 {
		waiting, dead := replayed(t, records[:n])
		if waiting+dead < had { // what a kill between two records would have doubled, or lost
			t.Errorf("after %d of %d records there are %d messages and %d dead ones, after one record less they were %d", n, len(records), waiting, dead, had)
		}
		if had = waiting + dead; n == len(records) && (waiting > 0 || dead != messages) {
			t.Errorf("in the end %d messages wait and %d are dead", waiting, dead)
		}
	}
}

// replayed counts the messages in the queue of that name, and its dead letters, that records lead to.
func replayed(t *testing.T, records [][]byte) (waiting, dead int) {
	st, err := store.Replay(records, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	s := st.NewSession()
	id, err := s.Open("queue", store.KindQueue, "", false)
	if err != nil { // not made yet
		return 0, 0
	}
	q, err := s.Queue(id)
	if err != nil {
		t.Fatal(err)
	}
	waiting = q.Len()
	if id, err = q.DeadLetters(s); err == nil {
		if q, err = s.Queue(id); err != nil {
			t.Fatal(err)
		}
		dead = q.Len()
	}
	return waiting, dead
}

// A snapshot that has one of the two queues from before and the other from afterwards does not mislead: what each record says of the one that it does not know yet counts.
func TestDeadLetterBesideSnapshot(t *testing.T) {
	dir := t.TempDir()
	st := openStore(t, dir)
	s := st.NewSession()
	id, err := s.Open("queue", store.KindQueue, "", true, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	q, err := s.Queue(id)
	if err != nil {
		t.Fatal(err)
	}
	const messages = 2000
	compacted := make(chan error)
	go func() {
		for range 30 {
			if err := st.Compact(); err != nil {
				compacted <- err
				return
			}
		}
		compacted <- nil
	}()
	for range messages {
		if err := q.Put(s, &store.Wait{ID: 100}, store.Value{Data: "message"}); err != nil {
			t.Fatal(err)
		}
		if err := q.Lease(s, &store.Wait{ID: 101}); err != nil {
			t.Fatal(err)
		}
		if err := q.Nack(s, 101); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-compacted; err != nil {
		t.Fatal(err)
	}
	again := killed(t, st, dir)
	s = again.NewSession()
	if id, err = s.Open("queue", store.KindQueue, "", false); err != nil {
		t.Fatal(err)
	}
	if q, err = s.Queue(id); err != nil {
		t.Fatal(err)
	}
	if id, err = q.DeadLetters(s); err != nil {
		t.Fatal(err)
	}
	dead, err := s.Queue(id)
	if err != nil {
		t.Fatal(err)
	}
	if q.Len() != 0 || dead.Len() != messages {
		t.Errorf("%d messages wait and %d are dead, of %d", q.Len(), dead.Len(), messages)
	}
}
