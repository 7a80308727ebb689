package manager

import (
	"context"
	"iter"
	"runtime"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/store"
)

// A Namespace is a set of named attributes on the server, of any types, shared by everybody who has a handle to it. Functions get at them, because methods
// cannot have type parameters: the type is said where an attribute is used, and whoever sets one and whoever gets it have to agree.
//
//	err = manager.NamespaceSet(ctx, ns, "limits", limits{CPU: 4})
//	l, ok, err := manager.NamespaceGet[limits](ctx, ns, "limits")
//
// What values may be, and what holds for calls and handles, is said at Dict.
type Namespace struct {
	_ noCopy
	h handle
}

const namespaceLayout = "namespace"

func (*Namespace) layout() string { return namespaceLayout }

// NewNamespace makes a namespace without attributes. It lives until the last handle in the last process is gone, and no container mentions it.
func NewNamespace(m *Manager) (*Namespace, error) {
	n := new(Namespace)
	if err := create(m, n, &n.h, store.KindNamespace, namespaceLayout); err != nil {
		return nil, err
	}
	return n, nil
}

// OpenNamespace returns the namespace of that name, and makes it if there is none; see OpenDict.
func OpenNamespace(m *Manager, name string) (*Namespace, error) {
	n := new(Namespace)
	if err := open(m, n, &n.h, name, store.KindNamespace, namespaceLayout); err != nil {
		return nil, err
	}
	return n, nil
}

// Close lets go of this handle; other handles are not touched. Calls after it fail with fs.ErrClosed. It is safe to call twice.
func (n *Namespace) Close() error { return n.h.close() }

// HandOver describes n to another process. It is for the packages of this module.
func (n *Namespace) HandOver(e *handover.Encoder) error {
	return n.h.handOver(e, store.KindNamespace, namespaceLayout)
}

// TakeOver makes the zero Namespace n what another process described. It is for the packages of this module.
func (n *Namespace) TakeOver(d *handover.Decoder) error {
	return takeOver(n, &n.h, d, store.KindNamespace, namespaceLayout)
}

// begin begins a call about an attribute. The name is returned as the request has it.
func (n *Namespace) begin(op uint64, name string) (*remote, *call, []byte, error) {
	r, cl, err := n.h.begin("Namespace", op)
	if err != nil {
		return nil, nil, nil, err
	}
	key, err := addKey(cl, name)
	if err == nil && op != opNamespaceGet && op != opNamespaceHas {
		err = r.mayChange(key)
	}
	if err != nil {
		cl.free()
		return nil, nil, nil, err
	}
	return r, cl, key, nil
}

// NamespaceGet returns an attribute; ok is false if there is none of that name. One that is no T is an error.
func NamespaceGet[T any](ctx context.Context, n *Namespace, name string) (v T, ok bool, err error) {
	r, cl, _, err := n.begin(opNamespaceGet, name)
	if err != nil {
		return v, false, err
	}
	defer runtime.KeepAlive(n)
	rep, err := r.do(ctx, cl)
	if err != nil {
		return v, false, err
	}
	defer cl.free()
	return readOptional[T](r.client, &rep)
}

// NamespaceSet sets an attribute, whatever it was before.
func NamespaceSet[T any](ctx context.Context, n *Namespace, name string, v T) error {
	r, cl, _, err := n.begin(opNamespaceSet, name)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(n)
	holds, err := addValue(r.client, cl, v, name, -1)
	if err != nil {
		cl.free()
		return err
	}
	defer releaseAll(holds)
	return r.doNothingElse(ctx, cl)
}

// NamespaceUpdate sets an attribute to what f makes of it (ok is false if there is none of that name) and returns that. What is said at Dict.Update holds.
func NamespaceUpdate[T any](ctx context.Context, n *Namespace, name string, f func(v T, ok bool) (T, error)) (T, error) {
	r, cl, key, err := n.begin(opNamespaceLease, name)
	if err != nil {
		var zero T
		return zero, err
	}
	defer runtime.KeepAlive(n)
	return update(ctx, r, cl, key, f)
}

// NamespaceAt returns the place of an attribute, for Add and CompareAndSwap, and through which parts of it can be got at.
func NamespaceAt[T any](n *Namespace, name string) Place[T] {
	key, err := appendKey(nil, name)
	return Place[T]{h: &n.h, what: "Namespace", key: key, said: 'k', err: err}
}

// Delete removes an attribute, and reports whether it was there.
func (n *Namespace) Delete(ctx context.Context, name string) (existed bool, err error) {
	r, cl, _, err := n.begin(opNamespaceDelete, name)
	if err != nil {
		return false, err
	}
	defer runtime.KeepAlive(n)
	return r.doBool(ctx, cl)
}

// Has reports whether there is an attribute of that name.
func (n *Namespace) Has(ctx context.Context, name string) (bool, error) {
	r, cl, _, err := n.begin(opNamespaceHas, name)
	if err != nil {
		return false, err
	}
	defer runtime.KeepAlive(n)
	return r.doBool(ctx, cl)
}

// Len returns the number of attributes.
func (n *Namespace) Len(ctx context.Context) (int, error) {
	r, cl, err := n.h.begin("Namespace", opNamespaceLen)
	if err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(n)
	return r.doInt(ctx, cl)
}

// Clear removes all attributes, at one moment at which none is being updated.
func (n *Namespace) Clear(ctx context.Context) error {
	r, cl, err := n.h.begin("Namespace", opNamespaceClear)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(n)
	if err := r.mayChangeAny(); err != nil {
		cl.free()
		return err
	}
	return r.doNothingElse(ctx, cl)
}

// Names iterates over the names, in the order in which they first came, as Dict.Keys does over keys.
func (n *Namespace) Names(ctx context.Context) iter.Seq[string] {
	return func(yield func(string) bool) {
		defer runtime.KeepAlive(n)
		eachKey(ctx, &n.h, "Namespace", opNamespaceKeys, func(name string) error {
			if !yield(name) {
				return errStop
			}
			return nil
		})
	}
}

// Copy returns a new namespace with the same attributes, as they are at one moment. It is made on the server: nothing travels. It has no name.
func (n *Namespace) Copy(ctx context.Context) (*Namespace, error) {
	to := new(Namespace)
	if err := copyObject(ctx, &n.h, "Namespace", to, &to.h); err != nil {
		return nil, err
	}
	runtime.KeepAlive(n)
	return to, nil
}
