package process

import (
	"fmt"
	"hash/fnv"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/registered"
)

// An Inherited is a variable that children started by [Fork] begin with a copy of. It is safe for concurrent use; the value in it
// is shared as in any variable, so a map or slice that is changed in place is not.
type Inherited[T any] struct {
	v atomic.Pointer[T]
}

// Inherit makes a variable of a package inheritable:
//
//	var settings = process.Inherit(map[string]string{})
//
// In a child started by [Fork] it holds what the parent's held at Start, handles and files in it included; in one
// started by [Spawn] or [ForkServer] it holds initial. Changes on either side stay there. The copy is made at
// Start, which refuses what cannot cross, as in arguments.
//
// Parent and child find a variable by its place among all Inherit calls, so that these must not depend on anything
// that differs between parent and child; else the child refuses to run. Inherit panics if it comes after [Main] or
// [Init].
func Inherit[T any](initial T) *Inherited[T] {
	i := new(Inherited[T])
	i.v.Store(&initial)
	inherits.add(&inheritable{
		typ:  registered.TypeName(reflect.TypeFor[T]()),
		take: func(root string) (*handover.Message, error) { return handover.Marshal(*i.v.Load(), root) },
		put: func(data []byte, fds []int) error {
			v := new(T)
			if _, err := handover.Unmarshal(data, fds, v); err != nil {
				return err
			}
			i.v.Store(v)
			return nil
		},
	})
	return i
}

// Get returns the value.
func (i *Inherited[T]) Get() T { return *i.v.Load() }

// Set replaces the value in this process.
func (i *Inherited[T]) Set(v T) { i.v.Store(&v) }

// An inheritable is an Inherited without its type.
type inheritable struct {
	typ  string
	take func(root string) (*handover.Message, error)
	put  func(data []byte, fds []int) error // owns fds
}

// inherits are all Inherit variables, in their order.
var inherits inheritance

type inheritance struct {
	mu   sync.Mutex
	vars []*inheritable
}

func (in *inheritance) add(v *inheritable) {
	if begun.Load() {
		panic("process: Inherit is called after process.Main or process.Init began, where a child never comes; call it for a package-level variable")
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.vars = append(in.vars, v)
}

// digest is the same in two processes if they have the same variables.
func (in *inheritance) digest() uint64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	h := fnv.New64a()
	for _, v := range in.vars {
		fmt.Fprintf(h, "%s\n", v.typ)
	}
	return h.Sum64()
}

// snapshot describes what all variables hold now.
func (in *inheritance) snapshot() ([]*handover.Message, error) {
	in.mu.Lock()
	vars := in.vars
	in.mu.Unlock()
	var ms []*handover.Message
	for i, v := range vars {
		m, err := v.take(fmt.Sprintf("Inherit[%s] (%d of %d)", v.typ, i+1, len(vars)))
		if err != nil {
			dropAll(ms)
			return nil, err
		}
		ms = append(ms, m)
	}
	return ms, nil
}

// restore fills the variables from the parts of a job behind its arguments.
func (in *inheritance) restore(j *job) error {
	in.mu.Lock()
	vars := in.vars
	in.mu.Unlock()
	if j.header.Inherit != in.digest() || len(j.data)-1 != len(vars) {
		return fmt.Errorf("the child has other Inherit variables than its parent, which has %d (the child %d); call process.Inherit for package-level variables, under no condition that differs between parent and child", len(j.data)-1, len(vars))
	}
	for i, v := range vars {
		if err := v.put(j.data[i+1], j.takeFDs(i+1)); err != nil {
			return fmt.Errorf("variable Inherit[%s] (%d of %d): %w", v.typ, i+1, len(vars), err)
		}
	}
	return nil
}

func dropAll(ms []*handover.Message) {
	for _, m := range ms {
		m.Drop()
	}
}
