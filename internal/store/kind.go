package store

import (
	"fmt"
	"strings"
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
	// params are what the parameters are called that have to be the same when the object is opened by its name.
	params []string
}{
	KindDict: {name: "dict", new: newDict},
	KindList: {name: "list", new: newList},

	KindSet: {name: "set", new: newSet},

	KindQueue: {name: "queue", new: newQueue, params: []string{"capacity", "number of deliveries"}},

	KindMutex: {name: "mutex", new: newMutex},

	KindRMutex: {name: "rmutex", new: newMutex},

	KindSemaphore: {name: "semaphore", new: newSemaphore, params: []string{"number of permits", "sort (1 plain, 2 counting)", "maximum"}},

	KindCond: {name: "cond", new: newCond, params: []string{"mutex"}},

	KindEvent: {name: "event", new: newEvent},

	KindBarrier: {name: "barrier", new: newBarrier, params: []string{"number of parties"}},

	KindNamespace: {name: "namespace", new: newDict},

	KindValue: {name: "value", new: newDict},

	KindArray: {name: "array", new: newArray, params: []string{"length"}},

	KindOwn: {name: "own type", new: newOwn},
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

// otherParam names a parameter with which an object of that kind was made, and that it was asked for with another: -1 if there is none. One that is 0 or left out
// says nothing.
func otherParam(k Kind, made, asked []uint64) int {
	for i := range min(len(made), len(asked), len(kinds[k].params)) {
		if made[i] != asked[i] && made[i] != 0 && asked[i] != 0 {
			return i
		}
	}
	return -1
}

// withArticle is String with "a" or "an".
func (k Kind) withArticle() string {
	s := k.String()
	if strings.IndexByte("aeor", s[0]) >= 0 { // an rmutex
		return "an " + s
	}
	return "a " + s
}
