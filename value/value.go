package value

import (
	"fmt"
	"io/fs"
	"sync/atomic"

	"github.com/go-multiproc/multiproc/internal/cell"
	"github.com/go-multiproc/multiproc/internal/guard"
	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/inspect"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/psync"
)

func init() { inspect.Register(kind.Name, cell.Inspect) }

var kind = cell.Kind{
	Name: "value",
	Type: "Value",
	Wrap: func(l *lock.Mutex) guard.Locker { return psync.Guard(l) },
}

// Options say where a named Value is and what guards it. The zero value is the
// default.
type Options struct {
	// Dir is the directory of the file. "" is /dev/shm.
	Dir string

	// Mode is the permissions of a Value that Create makes, whatever the umask.
	// 0 is 0600: only this user's processes can open it.
	Mode fs.FileMode

	// AnyOwner lets Open accept a file that belongs to another user, who can
	// then change the value at any time. Without it that is an error that is
	// fs.ErrPermission.
	AnyOwner bool

	// Guard is what Mutex returns and Update takes. nil is a lock in the Value's
	// own memory. With a *psync.FileLock, shell scripts and programs in other
	// languages can take part; Open finds it again by its path. Any other guard
	// has to be given to Open too. Create and Open do not make it theirs: it
	// stays open when the Value is closed. A process that dies in Update leaves a
	// *psync.Mutex abandoned, as any other holder of it does; the lock in the
	// Value's own memory it does not.
	Guard psync.Locker
}

func (o Options) seg() seg.Options {
	return seg.Options{Dir: o.Dir, Mode: o.Mode, AnyOwner: o.AnyOwner}
}

func options(opts []Options) Options {
	if len(opts) == 0 {
		return Options{}
	}
	return opts[0]
}

// A Value is one T in shared memory, as this process has it. It is safe for use
// by goroutines and processes, through its pointer; it must not be copied.
//
// A *Value can stand anywhere in the arguments of a child process and in what is
// sent through a pipe. It takes its guard along.
//
// After Close, methods that return an error return one that is fs.ErrClosed, and
// the others panic, but for Name and Mutex. The zero Value can not be used: all its
// methods but Close panic.
type Value[T any] struct {
	// data is where the value stands: the first word of a page, also if the value
	// is smaller or larger.
	data *uint64
	// Short cuts that may be taken, 1 or 0; all 0 after Close, and always under the
	// race detector, which has to be told of every access.
	fastLoad, fastStore, fastAdd uint32
	// What Load and Store do without one: the methods load and store.
	slowLoad  func() T
	slowStore func(T)

	obj    *cell.Object // immutable; nil in a zero Value
	closed atomic.Bool
}

// New makes an anonymous Value, to be passed to child processes. The error says
// which part of T cannot be shared, or is shm.ErrNoSpace.
func New[T any](v T) (*Value[T], error) { return newValue(v, true) }

// NewRaw makes an anonymous Value without a guard: Mutex returns nil, and Update
// excludes nobody. All else is as with New: accesses are atomic.
func NewRaw[T any](v T) (*Value[T], error) { return newValue(v, false) }

func newValue[T any](v T, guarded bool) (*Value[T], error) {
	lt, err := cell.Layout[T](kind)
	if err != nil {
		return nil, err
	}
	return new(Value[T]).init(kind.New(lt, 1, guarded, content(&v)))
}

// Create makes a named Value, which stays until Remove. Nobody can see it before
// it is complete. If the name exists, the error is fs.ErrExist. A name is one
// plain file name of at most 250 bytes.
func Create[T any](name string, v T, opts ...Options) (*Value[T], error) {
	lt, err := cell.Layout[T](kind)
	if err != nil {
		return nil, err
	}
	o := options(opts)
	return new(Value[T]).init(kind.Create(name, o.seg(), o.Guard, lt, 1, content(&v)))
}

func content[T any](v *T) cell.Content {
	return func(data []byte) { copy(data, cell.Bytes(v)) }
}

// Open joins a Value that Create made, here or in another process. T must have
// the same layout as there, whatever its name: the error is shm.ErrType if it has
// not, and shm.ErrFormat if the file is no Value that this version can use.
func Open[T any](name string, opts ...Options) (*Value[T], error) {
	lt, err := cell.Layout[T](kind)
	if err != nil {
		return nil, err
	}
	o := options(opts)
	return new(Value[T]).init(kind.Open(name, o.seg(), o.Guard, lt))
}

// Remove deletes the name of a Value. Processes that have it open keep it. If
// there is no such name, the error is fs.ErrNotExist.
func Remove(name string, opts ...Options) error {
	return seg.Remove(name, kind.Name, options(opts).seg())
}

// init puts the typed face of the zero v on an object.
func (v *Value[T]) init(o *cell.Object, err error) (*Value[T], error) {
	if err != nil {
		return nil, err
	}
	if o.Count != 1 {
		o.Handle.Close(nil)
		return nil, fmt.Errorf("value: %w: it has %d elements", seg.ErrFormat, o.Count)
	}
	v.obj, v.data = o, cell.FirstWord(o.Data)
	v.slowLoad, v.slowStore = v.load, v.store
	if cell.RaceEnabled || o.Large != nil {
		return v, nil
	}
	v.fastLoad = 1
	if lt := o.Type; lt.Size == 8 && len(lt.Padding) == 0 {
		v.fastStore = 1
		if lt.Text == "i64" || lt.Text == "u64" {
			v.fastAdd = 1
		}
	}
	return v, nil
}

// Name is the name that the Value was created or opened with; "" if none.
func (v *Value[T]) Name() string { return v.object().Handle.Name() }

// Mutex is the guard, for when more than one access has to be one step, or when
// the Value guards something else. Load, Store, Swap, CompareAndSwap and Add do
// not take it; Update does. It is nil for a Value made by NewRaw. Closing it does
// nothing.
func (v *Value[T]) Mutex() psync.Locker {
	if g := v.object().Guard; g.User != nil {
		return g.User
	}
	return nil
}

// Close ends this process's hold on the Value. It waits for calls of Update in
// progress; calls that wait for the guard return. It returns psync.ErrHeld, and
// closes nothing, while this process holds the guard by Mutex().Lock. A guard
// from Options stays open. Calling Close again does nothing. The function given
// to Update must not call it.
func (v *Value[T]) Close() error {
	if v.obj == nil || v.closed.Load() {
		return nil
	}
	return v.obj.Guard.Close(func() {
		v.closed.Store(true)
		if !cell.RaceEnabled {
			atomic.StoreUint32(&v.fastLoad, 0)
			atomic.StoreUint32(&v.fastStore, 0)
			atomic.StoreUint32(&v.fastAdd, 0)
		}
	})
}

// use panics after Close.
func (v *Value[T]) use() {
	if v.closed.Load() {
		misuse()
	}
}

func misuse() { panic("value: use of closed Value") }

// object is what a Value that was made stands for.
func (v *Value[T]) object() *cell.Object {
	if v.obj == nil {
		panic("value: use of a Value that was not made by New, NewRaw, Create or Open")
	}
	return v.obj
}

// HandOver describes the Value to another process. Packages process and pipe call
// it.
func (v *Value[T]) HandOver(e *handover.Encoder) error {
	switch {
	case v.obj == nil:
		return fmt.Errorf("value: a Value that was not made by New, Create or Open: %w", fs.ErrInvalid)
	case v.closed.Load():
		return kind.Closed()
	}
	return v.obj.HandOver(e)
}

// TakeOver makes the zero Value a hold on one that another process handed over.
// Packages process and pipe call it.
func (v *Value[T]) TakeOver(d *handover.Decoder) error {
	lt, err := cell.Layout[T](kind)
	if err != nil {
		return err
	}
	_, err = v.init(kind.TakeOver(d, lt))
	return err
}
