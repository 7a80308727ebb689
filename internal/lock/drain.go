package lock

import "context"

// Drain waits until no scoped hold of this process is in progress. Who calls it
// after it closed the handle knows that no method of the object that came by
// this handle is inside any more: whoever takes the lock looks at the handle
// afterwards. (Counting who is inside would cost each of them as much as the lock
// itself.)
func (m *Mutex) Drain() {
	_ = m.q.wait(context.Background(), nil, nil, func(w word, _ turn) (verdict, error) {
		if m.mine(w) && w&scoped != 0 {
			return blocked, nil
		}
		return settled, nil
	})
}
