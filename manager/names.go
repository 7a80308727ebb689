package manager

import (
	"context"
	"runtime"

	"github.com/go-multiproc/multiproc/internal/codec"
	"github.com/go-multiproc/multiproc/internal/store"
)

// A Named is an object that has a name.
type Named struct {
	Name string
	Kind string // "dict", "list", …, "own type", as in Stats.Objects
	Type string // what it was made as: "dict[string]int64", or the name that an own type has by Register; "" if who made it did not say
}

// Names returns the objects that have a name, as they are at one moment, in the order of their names. It is for finding out what a server has, and what it keeps at
// Options.Path: the functions that open an object by its name make one if there is none.
func (m *Manager) Names(ctx context.Context) ([]Named, error) {
	c, err := m.use()
	if err != nil {
		return nil, err
	}
	defer runtime.KeepAlive(m)
	named := []Named{}
	err = pages(ctx, &remote{client: c}, newCall(opNames), 1, func(_ *client, rep *reply) error {
		r := itemReader{b: rep.bytes()}
		if rep.err != nil {
			return replyError(rep.err)
		}
		if n := r.array(); n < 3 {
			r.fail("%d parts of a name", n)
		}
		name, kind, layout := r.text(), store.Kind(r.uint()), r.text()
		if r.err != nil {
			return replyError(r.err)
		}
		named = append(named, Named{name, kind.String(), layout})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return named, nil
}

// names is the server's side.
func (r *request) names(context.Context) error {
	if !r.ok() {
		return nil
	}
	var items []string
	for _, n := range r.server.store.Names() {
		b := appendHead(nil, codec.Array, 3)
		b = appendText(b, n.Name)
		b = appendUint(b, uint64(n.Kind))
		items = append(items, string(appendText(b, n.Type)))
	}
	return r.firstPage(store.SnapshotOf(items))
}
