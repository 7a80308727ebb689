package store

// Settle looks for garbage, whether there is a suspicion or not.
func (st *Store) Settle() {
	st.graph.mu.Lock()
	st.graph.suspects++
	st.graph.mu.Unlock()
	st.graph.settle()
}
