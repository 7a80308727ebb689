package store

import "github.com/go-multiproc/multiproc/internal/journal"

// Replay makes a store what records say, the first few of them as if of a snapshot.
func Replay(records [][]byte, snapshot int) (*Store, error) {
	st := New(Options{})
	st.ledger.loading = true
	r := &replayer{graph: &st.graph, after: map[ID]positions{}}
	for i, b := range records {
		position := uint64(0)
		if i >= snapshot {
			position = uint64(i) + 1 // 0 is a snapshot's
		}
		if err := r.load(journal.NewReader(b), position); err != nil {
			return st, err
		}
	}
	st.ledger.loading = false
	return st, st.graph.recovered()
}
