package process

import (
	"context"
	"fmt"

	"github.com/go-multiproc/multiproc/internal/registered"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// Package pool runs registered functions in workers, as initialisers.
func init() {
	registered.Begun = begun.Load
	registered.Describe = func(fn any) []byte {
		id := functions.Identify(fn.(interface{ registration() *entry }).registration())
		var e encoder
		encodeIdentity(&id, &e)
		return e
	}
	registered.Prepare = func(description, data []byte, fds []int) (func(context.Context) error, error) {
		var id registered.Identity
		d := decoder{rest: description}
		decodeIdentity(&id, &d)
		if d.err != nil {
			return nil, fmt.Errorf("process: the description of a function: %w", d.err)
		}
		e, err := functions.Find(id)
		if err != nil {
			return nil, err
		}
		return e.Value(data, fds)
	}
}

// leave says that this process ends in good order, so that no Barrier misses it: to those in shared memory, and to managers.
func leave() {
	seg.Leave()
	registered.Leave()
}

func (f *Func[A]) registration() *entry { return f.entry }
