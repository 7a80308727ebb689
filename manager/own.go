package manager

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/registered"
	"github.com/go-multiproc/multiproc/internal/store"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/queue"
)

// ErrNotRegistered is in the error of making or calling an object of one's own type whose type or method the server's program does not
// have; the text names it. A server that Start started runs this very program; one that others serve may not.
var ErrNotRegistered = errors.New("manager: not registered in the server's program")

// A MethodError is the error that a method of a user's own type returned in the server, or what it panicked with.
type MethodError struct {
	Type   string // as given to Register
	Method string // the function's symbol
	Err    string // text of the error, or of the value that it panicked with
	Stack  string // of the panic, in the server; empty if there was none

	is []error
}

// Error is the text, with the method's name before it.
func (e *MethodError) Error() string {
	if e.Stack != "" {
		return fmt.Sprintf("manager: %s of %s panicked: %s", e.Method, e.Type, e.Err)
	}
	return fmt.Sprintf("manager: %s of %s: %s", e.Method, e.Type, e.Err)
}

// Unwrap returns what [RegisterError] knows of the errors that the method's error wraps, so that errors.Is finds them.
func (e *MethodError) Unwrap() []error { return e.is }

// RegisterError makes err known, so that errors.Is finds it in the error of a method that returned it, or one that wraps it. It is for variables of a package, as
// [Register] is, and returns err. Errors that package pool knows are known here, too, and the other way round; those of packages context, io, io/fs, os,
// psync and queue that callers compare with are known from the start, and every syscall.Errno.
func RegisterError(err error) error {
	if err == nil {
		panic("manager: RegisterError needs an error")
	}
	registered.Errors.Add(err)
	return err
}

func init() {
	registered.Errors.Add(psync.ErrOwnerDied, psync.ErrNotHeld, psync.ErrBroken, queue.ErrClosed, ErrDown, ErrNotFound, ErrType, ErrRange)
}

// A Type is a user's own type, of which the server has objects. It comes from [Register].
type Type[T any] struct{ own *ownType }

// An ownType is what is known of a Type without its T.
type ownType struct {
	name string
	t    reflect.Type
	make func() any

	durable *durable // nil: what objects have in them dies with the server
}

// A method is what is known of a Method without its types.
type method struct {
	of    *ownType
	alone bool
	// handles says that the argument or the result may have handles in it.
	handles bool
	// run calls it with an encoded argument, and encodes the result.
	run func(ctx context.Context, object any, c *client, data []byte, refs []store.ID) (encoded, error)
}

var ownTypes = struct {
	sync.Mutex
	byName map[string]*ownType
	byType map[reflect.Type]*ownType
}{byName: map[string]*ownType{}, byType: map[reflect.Type]*ownType{}}

var methods = registered.Registry[*method]{
	Words: registered.Words{Package: "manager", What: "method", Here: "the client", There: "the server", Name: "a function of its own"},
	Begun: func() bool { return registered.Begun() },
}

// methodNames finds methods by the words that name them.
var methodNames = sync.OnceValue(func() map[string]*method {
	names := map[string]*method{}
	for e, id := range methods.All() {
		names[methods.Words.String(id)] = e.Value
	}
	return names
})

// Register makes a type of the user's known, so that the server can have objects of it: state kept in one place, in the server's process,
// with methods that everybody calls. new makes the content of a new object; nil is for the zero T.
//
// A server that Start started runs the same program, so the natural place is a variable of a package:
//
//	type counter struct{ n int }
//
//	var (
//		counters = manager.Register("counter", func() *counter { return new(counter) })
//		add      = manager.RegisterMethod(counters, func(c *counter, _ context.Context, by int) (int, error) { c.n += by; return c.n, nil })
//	)
//	…
//	c, err := counters.New(m)
//	n, err := add.Call(ctx, c, 5)
//
// What an object has in it dies with the server, also where Options.Path is set, unless the type is [Type.Durable].
//
// It panics after process.Main or process.Init, and if the name or T is registered already.
func Register[T any](name string, new func() *T) *Type[T] {
	if name == "" {
		panic("manager: Register needs a name")
	}
	if registered.Begun() {
		panic("manager: type " + name + " is registered after process.Main or process.Init began, where a server never comes; register it in a package-level variable")
	}
	o := &ownType{name: name, t: reflect.TypeFor[T](), make: func() any { return new() }}
	if new == nil {
		o.make = func() any { var zero T; return &zero }
	}
	ownTypes.Lock()
	defer ownTypes.Unlock()
	if ownTypes.byName[name] != nil {
		panic(fmt.Sprintf("manager: two types are registered as %q", name))
	}
	if other := ownTypes.byType[o.t]; other != nil {
		panic(fmt.Sprintf("manager: %v is registered as %q already", o.t, other.name))
	}
	ownTypes.byName[name], ownTypes.byType[o.t] = o, o
	return &Type[T]{o}
}

// Name returns the name under which the type was registered.
func (t *Type[T]) Name() string { return t.own.name }

// A Method is a method of a user's own type, which runs in the server. It comes from [RegisterMethod].
type Method[T, In, Out any] struct {
	entry *registered.Entry[*method]
	id    func() string
}

// RegisterMethod makes fn known as a method of the objects of type t. It is for variables of a package, as [Register] is, and panics in the same
// cases, and if fn is a method value (a method expression like (*counter).Add is right).
//
// fn runs in the server's process. Calls of one object's methods run one after another, in the order in which they came to the server, so
// that fn needs no lock; those of different objects run side by side, and nobody else's calls wait for them. See also Method.Concurrent. Its ctx
// ends when the caller's does, and when the caller's process dies. A panic in it is an error of the caller's, with its stack, and leaves the
// server and the object as they are.
//
// In and Out may be anything that a container may hold, handles to objects of the same server included, which fn may use and keep.
// It must not wait for another call of the same object.
func RegisterMethod[T, In, Out any](t *Type[T], fn func(*T, context.Context, In) (Out, error)) *Method[T, In, Out] {
	m := &method{of: t.own, alone: true, handles: holdsHandles(reflect.TypeFor[In]()) || holdsHandles(reflect.TypeFor[Out]())}
	m.run = func(ctx context.Context, object any, c *client, data []byte, refs []store.ID) (encoded, error) {
		in, err := decodeValue[In](c, data, refs)
		if err != nil {
			return encoded{}, fmt.Errorf("its argument did not arrive: %w", err)
		}
		out, err := fn(object.(*T), ctx, in)
		if err != nil {
			return encoded{}, err
		}
		return encodeResult(c, out)
	}
	e := methods.Register("", fn, reflect.TypeFor[In](), reflect.TypeFor[Out](), m)
	return &Method[T, In, Out]{e, sync.OnceValue(func() string { return methods.Words.String(methods.Identify(e)) })}
}

// encodeResult encodes a result as a container's value.
func encodeResult[V any](c *client, v V) (encoded, error) {
	if b, ok := appendSimple(nil, v); ok {
		r := itemReader{b: b}
		return encoded{data: r.bytes()}, nil
	}
	return encodeValue(c, v, "result")
}

// Concurrent lets calls of the method run beside all others of the same object: it sees to its own locking. If the type is [Type.Durable], it gets a copy of the object instead, as it
// was kept last, and what it changes there is lost. It is called where the method is registered, and returns m.
func (m *Method[T, In, Out]) Concurrent() *Method[T, In, Out] {
	if registered.Begun() {
		panic("manager: Method.Concurrent after process.Main or process.Init began")
	}
	m.entry.Value.alone = false
	return m
}

// Name returns the function's symbol.
func (m *Method[T, In, Out]) Name() string { return m.entry.Name() }

// An Object is an object of a user's own type on the server. Its state is there, in one place; its methods are called with Method.Call.
//
// An *Object is safe for concurrent use. It crosses to other processes in arguments and messages. An unreachable one closes itself.
type Object[T any] struct {
	_ noCopy
	w waiter
}

// ownLayout is the name under which T was registered.
func ownLayout[T any]() string {
	ownTypes.Lock()
	defer ownTypes.Unlock()
	if o := ownTypes.byType[reflect.TypeFor[T]()]; o != nil {
		return o.name
	}
	return "unregistered " + reflect.TypeFor[T]().String()
}

func (*Object[T]) layout() string { return "own[" + ownLayout[T]() + "]" }

// New makes an object, which lives until the last handle in the last process is gone, and no container mentions it. If the server's program
// does not have the type, the error is ErrNotRegistered.
func (t *Type[T]) New(m *Manager) (*Object[T], error) {
	o := new(Object[T])
	if err := create(m, o, &o.w.handle, store.KindOwn, t.own.name); err != nil {
		return nil, err
	}
	return o, nil
}

// Open returns the object of that name, and makes it if there is none; see OpenDict. With Options.Path, the object is there again after a restart
// of the server; with what it had in it if the type is Durable, else its content is new.
func (t *Type[T]) Open(m *Manager, name string) (*Object[T], error) {
	o := new(Object[T])
	if err := open(m, o, &o.w.handle, name, store.KindOwn, t.own.name); err != nil {
		return nil, err
	}
	return o, nil
}

// Close lets go of this handle. Calls under way through it end with fs.ErrClosed, or with what the method returns when its ctx ends. It is safe to call twice.
func (o *Object[T]) Close() error { return o.w.close() }

// HandOver describes o to another process. It is for the packages of this module.
func (o *Object[T]) HandOver(e *handover.Encoder) error {
	return o.w.handOver(e, store.KindOwn, ownLayout[T]())
}

// TakeOver makes the zero Object o what another process described. It is for the packages of this module.
func (o *Object[T]) TakeOver(d *handover.Decoder) error {
	return takeOver(o, &o.w.handle, d, store.KindOwn, ownLayout[T]())
}

// Call calls the method on an object, in the server. An error that the method returned, and a panic, is a [*MethodError]. When ctx ends, so
// does the method's, and Call returns what the method then returns, or, if that takes longer than a moment, ctx's error; the method may or may not have done what it does.
func (m *Method[T, In, Out]) Call(ctx context.Context, o *Object[T], in In) (out Out, err error) {
	r, cl, err := o.w.handle.begin("Object", opOwnCall)
	if err != nil {
		return out, err
	}
	defer runtime.KeepAlive(o)
	holds, err := addValue(r.client, cl.text(m.id()), in, "in", -1)
	if err != nil {
		cl.free()
		return out, err
	}
	defer releaseAll(holds)
	rep, err := o.w.await(ctx, r, cl, "Object")
	if err != nil {
		return out, err
	}
	defer cl.free()
	if rep.bool() {
		if out, err = readValue[Out](r.client, &rep); err != nil {
			return out, discardRest(r.client, &rep, err)
		}
		return out, rep.close()
	}
	e := &MethodError{Type: m.entry.Value.of.name, Method: m.Name(), Err: rep.text(), Stack: rep.text()}
	errno := append([]byte(nil), rep.bytes()...)
	var keys []string
	for range rep.items - 4 {
		keys = append(keys, rep.text())
	}
	if err := rep.close(); err != nil {
		return out, err
	}
	e.is = registered.Errors.Find(keys, errno)
	if err := ctx.Err(); err != nil && errors.Is(e, context.Canceled) && !errors.Is(e, ErrUndone) {
		return out, err
	}
	return out, e
}

// A panicked is what a method panicked with.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprint(p.value) }

// Unwrap is for those who panic with an error.
func (p *panicked) Unwrap() error { err, _ := p.value.(error); return err }

// errGoexit is the error of a method that ended its goroutine.
var errGoexit = errors.New("the method has called runtime.Goexit")

// guarded calls a method, and survives it. v is nil if the object's state is not kept.
func (m *method) guarded(ctx context.Context, own *store.Own, v *visit, c *client, data []byte, refs []store.ID, done func(encoded, error)) {
	out, err := encoded{}, error(errGoexit)
	defer func() { done(out, err) }() // also after Goexit
	entered := false
	defer func() {
		if !entered {
			c.disown(refs) // of an argument that nobody has decoded
			return
		}
		if v == nil {
			return
		}
		ran := err
		err = &undone{ran, errGoexit} // should a method of the object's call that
		if cause := v.leave(); cause != nil {
			err = &undone{ran, cause}
		} else {
			err = ran
		}
	}()
	defer func() {
		if v := recover(); v != nil {
			out, err = encoded{}, &panicked{v, debug.Stack()}
		}
	}()
	var object any
	if v == nil {
		object = own.Value(m.of.make)
	} else if object, err = v.enter(ctx); err != nil {
		return
	}
	entered, err = true, errGoexit
	out, err = m.run(ctx, object, c, data, refs)
}
