package process

import (
	"context"
	"fmt"

	"github.com/go-multiproc/multiproc/internal/registered"
)

// Package pool runs registered functions in workers, as initialisers.
func init() {
	registered.Begun = functions.hasBegun
	registered.Describe = func(fn any) []byte {
		id := functions.identify(fn.(interface{ registration() *entry }).registration())
		var e encoder
		id.encode(&e)
		return e
	}
	registered.Prepare = func(description, data []byte, fds []int) (func(context.Context) error, error) {
		var id identity
		d := decoder{rest: description}
		id.decode(&d)
		if d.err != nil {
			return nil, fmt.Errorf("process: the description of a function: %w", d.err)
		}
		e, err := functions.find(id)
		if err != nil {
			return nil, err
		}
		return e.decode(data, fds)
	}
}

func (f *Func[A]) registration() *entry { return f.entry }
