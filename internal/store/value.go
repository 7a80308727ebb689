package store

// A Value is what a container holds. Neither part is ever changed once stored, so a
// front end may send Data without a copy and without a lock.
type Value struct {
	// Data is the value's encoding, opaque to the store.
	Data string
	// Refs are the objects that Data mentions, with repetition if it does so repeatedly.
	// The store keeps them alive for as long as the value stands in a container.
	// In a value that the store returns to a session each one is a reference that the
	// session now holds.
	Refs []ID
}

// sizeOf is about how many bytes a value has when it travels: also what it mentions counts, which can be more than its data.
func sizeOf(data string, m *mentions) int64 {
	n := int64(len(data))
	if m != nil {
		n += 9 * int64(len(m.objs))
	}
	return n
}

// mentions are a stored value's references. Nearly no value has any, so a stored value
// pays one word for them.
type mentions struct{ objs []*object }

func (m *mentions) ids() []ID {
	if m == nil {
		return nil
	}
	ids := make([]ID, len(m.objs))
	for i, o := range m.objs {
		ids[i] = o.id
	}
	return ids
}
