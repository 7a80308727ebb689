package store

import (
	"fmt"
	"slices"
)

// What is kept of an object of a front end's own type is its state, if the front end gives one: one value, which is replaced as a whole. What the object is in the front end's
// memory is made of that.

// The effects on an own type's object.
const (
	effectOwnState = firstEffect // value
)

// An ownState is what is kept of an Own. It does not change; another one takes its place.
type ownState struct {
	data string
	refs *mentions
}

func (o *Own) size() (entries, bytes int64) {
	v, _ := o.State()
	return 0, int64(len(v.Data))
}

func (o *Own) weight() (entries, bytes int64) {
	st := o.state.Load()
	if st == nil {
		return 0, 0
	}
	return 0, st.weight()
}

func (st *ownState) weight() int64 {
	if st == nil {
		return 0
	}
	n := int64(len(st.data)) + itemBytes
	if st.refs != nil {
		n += 8 * int64(len(st.refs.objs))
	}
	return n
}

// State returns the state that is kept; ok is false if there is none. The references in it are nobody's.
func (o *Own) State() (v Value, ok bool) {
	st := o.state.Load()
	if st == nil {
		return Value{}, false
	}
	return Value{st.data, st.refs.ids()}, true
}

// Lend returns the state with an offer for each reference in it. Who does not have all of them claimed calls Store.Withdraw.
func (o *Own) Lend() (v Value, tokens []Token, ok bool) {
	st := o.state.Load()
	if st == nil {
		return Value{}, nil, false
	}
	if st.refs == nil {
		return Value{Data: st.data}, nil, true
	}
	for _, obj := range st.refs.objs {
		token, _ := o.graph.offer(obj, nil) // if it is gone, this object is, and claiming fails
		tokens = append(tokens, token)
	}
	return Value{st.data, st.refs.ids()}, tokens, true
}

// First has keep, which calls Keep, called if no state is kept. Others who call it meanwhile wait.
func (o *Own) First(keep func() error) error {
	if o.state.Load() != nil {
		return nil
	}
	o.making.Lock()
	defer o.making.Unlock()
	if o.state.Load() != nil {
		return nil
	}
	return keep()
}

// Unknown returns the references that the state which is kept does not mention, each once.
func (o *Own) Unknown(refs []ID) (unknown []ID) {
	st := o.state.Load()
	for _, id := range refs {
		if st.object(id) == nil && !slices.Contains(unknown, id) {
			unknown = append(unknown, id)
		}
	}
	return unknown
}

func (st *ownState) object(id ID) *object {
	if st == nil || st.refs == nil {
		return nil
	}
	for _, o := range st.refs.objs {
		if o.id == id {
			return o
		}
	}
	return nil
}

// Keep makes v the state that is kept. offers are those of v's references that the state before does not mention; they are claimed, or withdrawn on error: ErrLimit,
// ErrJournal, ErrNotFound if an offer is none. Then the state is what it was. It is called by one at a time: in First, or between Enter and Leave of a call that is alone.
func (o *Own) Keep(v Value, offers []Token) error {
	var claimed []*object
	defer func() {
		for _, t := range offers[len(claimed):] {
			o.graph.withdraw(t)
		}
		if len(claimed) > 0 {
			o.graph.drop(claimed...)
		}
	}()
	old := o.state.Load()
	st := &ownState{data: v.Data}
	demand := Demand{Bytes: max(0, int64(len(v.Data)+8*len(v.Refs))+itemBytes-old.weight()), Record: int64(len(v.Data) + 10*len(v.Refs) + 32)}
	if err := o.self.ledger.admit(demand); err != nil {
		return err
	}
	defer o.self.ledger.done(demand)
	for _, t := range offers {
		of, ok := o.graph.claim(t)
		if !ok {
			return fmt.Errorf("%w: a reference in the state was offered, and taken back", ErrNotFound)
		}
		of.settle(t)
		claimed = append(claimed, of.obj)
	}
	if len(v.Refs) > 0 {
		st.refs = &mentions{make([]*object, len(v.Refs))}
		for i, id := range v.Refs {
			obj := old.object(id)
			if at := slices.IndexFunc(claimed, func(o *object) bool { return o.id == id }); obj == nil && at >= 0 {
				obj = claimed[at]
			}
			if obj == nil {
				return fmt.Errorf("%w: object %d, which the state mentions, was not offered", ErrNotFound, id)
			}
			st.refs.objs[i] = obj
		}
	}
	o.lock()
	defer o.unlock()
	if o.drafting.self == nil { // an object that never has a state pays nothing for the possibility
		o.drafting.place(o.self, o)
	}
	noteValue(o.note(effectOwnState), st.data, st.refs)
	o.setStateLocked(st)
	return nil
}

func (o *Own) setStateLocked(st *ownState) {
	o.graph.link(o.self, st.refs)
	if old := o.state.Swap(st); old != nil {
		o.graph.unlink(o.self, old.refs)
	}
}

func (o *Own) dump(d *dump) {
	o.lock()
	st := o.state.Load()
	if st != nil { // else whatever the journal says comes later
		d.begin()
	}
	o.unlock()
	if st != nil {
		noteValue(d.note(effectOwnState), st.data, st.refs)
	}
}

func (o *Own) replay(e effect, r *replayer) error {
	if e != effectOwnState {
		return errEffect
	}
	data, refs := r.value()
	if r.Err() == nil {
		o.setStateLocked(&ownState{data, refs})
	}
	return r.Err()
}
