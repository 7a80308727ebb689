package store

import (
	"fmt"
	"slices"
)

// A Kind is what an object is. The numbers stand in the protocol: they are never reassigned.
type Kind uint8

// The kinds of objects.
const (
	KindDict      Kind = 1
	KindList      Kind = 2
	KindSet       Kind = 3
	KindQueue     Kind = 4
	KindMutex     Kind = 5
	KindRMutex    Kind = 6
	KindSemaphore Kind = 7
	KindCond      Kind = 8
	KindEvent     Kind = 9
	KindBarrier   Kind = 10
	KindNamespace Kind = 11
	KindValue     Kind = 12
	KindArray     Kind = 13
	KindOwn       Kind = 14
)

// kinds has what is particular to each kind. Where new is nil there are no such objects.
var kinds = [...]struct {
	name string
	// new makes the content of an object. What it is to be beyond its kind, params say; a kind that has no parameters
	// ignores them.
	new func(params []uint64) (body, error)
}{
	KindDict: {"dict", newDict},
	KindList: {"list", newList},

	KindSet: {"set", newSet},

	KindQueue: {"queue", newQueue},

	KindMutex: {"mutex", newMutex},

	KindRMutex: {"rmutex", newMutex},

	KindSemaphore: {"semaphore", newSemaphore},

	KindCond: {"cond", newCond},

	KindEvent: {"event", newEvent},

	KindBarrier: {"barrier", newBarrier},

	KindNamespace: {"namespace", newDict},

	KindValue: {"value", newDict},

	KindArray: {"array", newArray},

	KindOwn: {"own type", newOwn},
}

// String returns "dict", "list", ….
func (k Kind) String() string {
	if int(k) < len(kinds) && kinds[k].name != "" {
		return kinds[k].name
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// A body is the content of an object. Each kind has its own.
type body interface {
	// place tells the body which object it is the content of. It is called once, before anybody can reach it.
	place(self *object, g *graph)
	// size counts entries, and the bytes of their keys and values.
	size() (entries, bytes int64)
}

func newBody(k Kind, params []uint64) (body, error) {
	if int(k) >= len(kinds) || kinds[k].new == nil {
		return nil, fmt.Errorf("%w: there are no objects of %v", ErrInvalid, k)
	}
	return kinds[k].new(params)
}

// bodyOf returns the content of an object of that kind, to which the session must hold a reference.
func bodyOf[B body](s *Session, id ID, k Kind) (b B, err error) {
	o, err := s.object(id, k)
	if err != nil {
		return b, err
	}
	return o.body.(B), nil
}

// sameParams reports whether an object made with some parameters may be opened with others. One that is 0 or left out says nothing.
func sameParams(made, asked []uint64) bool {
	n := min(len(made), len(asked))
	return slices.EqualFunc(made[:n], asked[:n], func(a, b uint64) bool { return a == b || a == 0 || b == 0 })
}
