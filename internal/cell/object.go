package cell

import (
	"errors"
	"fmt"
	"io/fs"
	"math"

	"github.com/go-multiproc/multiproc/internal/guard"
	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/layout"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// A Kind is a package that puts a typed face on an Object.
type Kind struct {
	Name string // "value": the kind of segment, and the start of errors
	Type string // "Value": as the user knows it
	// Wrap makes what the user sees of the lock in the object's own segment.
	Wrap func(*lock.Mutex) guard.Locker
}

// An Object is a number of elements in shared memory, without the Go type of
// these. It is immutable; closing is the Guard's, which knows what to wait for.
type Object struct {
	Handle *seg.Handle
	Guard  *guard.Guard
	Type   *layout.Type
	Data   []byte // Count elements
	Count  int
	Mask   uint64   // elements that are words: the bits that are not padding
	Large  *Stripes // access to elements that are not; else nil

	kind   Kind
	offset int // of Data in the segment, if the object is a view; else 0
	view   bool
}

// A Content fills the zero data of a new object, before anybody else can see it.
type Content func(data []byte)

// New makes an anonymous object of count elements. The guard is in its own
// segment, or none.
func (k Kind) New(lt *layout.Type, count int, guarded bool, c Content) (*Object, error) {
	gkind := guard.None
	if guarded {
		gkind = guard.Own
	}
	return k.make(lt, count, gkind, "", nil, c, seg.New)
}

// Create makes a named object. A nil guard is one in its own segment.
func (k Kind) Create(name string, o seg.Options, l guard.Locker, lt *layout.Type, count int, c Content) (*Object, error) {
	gkind, text := guard.Describe(l)
	return k.make(lt, count, gkind, text, l, c, func(s seg.Spec) (*seg.Handle, error) {
		return seg.Create(name, s, o)
	})
}

func (k Kind) make(lt *layout.Type, count int, gkind, text string, l guard.Locker, c Content, newSeg func(seg.Spec) (*seg.Handle, error)) (*Object, error) {
	if count < 0 {
		return nil, fmt.Errorf("%s: a length of %d is negative: %w", k.Name, count, fs.ErrInvalid)
	}
	if count > math.MaxInt/lt.Size {
		return nil, fmt.Errorf("%s: %d elements of %d bytes: %w", k.Name, count, lt.Size, seg.ErrNoSpace)
	}
	p, err := NewPlan(lt.Size, count, gkind, text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.Name, err)
	}
	h, err := newSeg(seg.Spec{
		Kind: k.Name, Type: lt.Text, Count: count, Data: count * lt.Size, Meta: p.MetaSize(),
		Init: func(data, meta []byte) {
			if c != nil {
				c(data)
				wipeAll(data, lt)
			}
			p.Init(meta)
		},
	})
	if err != nil {
		return nil, err
	}
	return k.object(h, lt, p, guard.New(h, gkind, l, GuardOffset, k.Wrap)), nil
}

// Open joins a named object. l is the guard that the caller brings, or nil.
func (k Kind) Open(name string, o seg.Options, l guard.Locker, lt *layout.Type) (*Object, error) {
	h, err := seg.Open(name, k.Name, lt.Text, o)
	if err != nil {
		return nil, err
	}
	obj, err := k.join(h, lt, func(p Plan) (*guard.Guard, error) {
		return guard.Open(h, p.Kind, p.Text, l, GuardOffset, k.Wrap)
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", k.Name, name, err)
	}
	return obj, nil
}

// join makes an object of a segment that was made elsewhere, and closes that if
// it cannot be done.
func (k Kind) join(h *seg.Handle, lt *layout.Type, guardOf func(Plan) (*guard.Guard, error)) (*Object, error) {
	p, err := ReadPlan(h.Meta(), len(h.Data()), lt.Size, h.Count())
	if err == nil {
		var g *guard.Guard
		if g, err = guardOf(p); err == nil {
			return k.object(h, lt, p, g), nil
		}
	}
	h.Close(nil)
	return nil, err
}

func (k Kind) object(h *seg.Handle, lt *layout.Type, p Plan, g *guard.Guard) *Object {
	h.SetObject(k.Name, k.Type)
	o := &Object{Handle: h, Guard: g, Type: lt, Data: h.Data(), Count: p.Count, kind: k}
	if IsWord(lt.Size) {
		o.Mask = Mask(lt.Size, lt.Padding)
	} else {
		o.Large = NewStripes(h, p)
	}
	return o
}

// Over makes a view of count elements that start at offset of a segment, with a
// hold of its own on that. It has no guard, and no stripes: there is no place for
// these in a segment of somebody else's making.
func (k Kind) Over(h *seg.Handle, lt *layout.Type, offset, count int) (*Object, error) {
	if h.Closed() {
		return nil, fmt.Errorf("%s: the segment is closed: %w", k.Name, fs.ErrClosed)
	}
	fd, err := h.Reopen()
	if err != nil {
		return nil, err
	}
	own, err := seg.Attach(fd, h.Name(), "", "", h.Raw())
	if err != nil {
		return nil, err
	}
	return k.over(own, lt, offset, count)
}

// over is Over with the segment in own, which is closed on error.
func (k Kind) over(own *seg.Handle, lt *layout.Type, offset, count int) (*Object, error) {
	data := own.Data()
	var err error
	switch {
	case offset < 0 || count < 0 || offset > len(data) || count > (len(data)-offset)/lt.Size:
		err = fmt.Errorf("%s: %d elements of %d bytes from byte %d on are not all within the segment's %d bytes: %w",
			k.Name, count, lt.Size, offset, len(data), fs.ErrInvalid)
	case offset%alignment(lt) != 0:
		err = fmt.Errorf("%s: byte %d is no place for elements that start at multiples of %d: %w",
			k.Name, offset, alignment(lt), fs.ErrInvalid)
	}
	if err != nil {
		own.Close(nil)
		return nil, err
	}
	own.SetObject(k.Name, k.Type)
	o := &Object{
		Handle: own, Guard: guard.New(own, guard.None, nil, 0, nil), Type: lt,
		Data: data[offset : offset+count*lt.Size : offset+count*lt.Size], Count: count,
		kind: k, offset: offset, view: true,
	}
	if IsWord(lt.Size) {
		o.Mask = Mask(lt.Size, lt.Padding)
	} else {
		o.Large = newUnstriped(own, o.Data, lt.Size)
	}
	return o, nil
}

// alignment is where elements may stand: as Go wants it, and words as atomic
// access wants it.
func alignment(lt *layout.Type) int {
	if IsWord(lt.Size) {
		return lt.Size
	}
	return lt.Align
}

// crossing is what travels with the segment.
type crossing struct {
	View          bool `cbor:",omitempty"`
	Offset, Count int  `cbor:",omitempty"` // of a view
}

// HandOver describes the object, and its guard, to another process.
func (o *Object) HandOver(e *handover.Encoder) error {
	if err := o.Handle.HandOver(e); err != nil {
		return err
	}
	c := crossing{View: o.view}
	if o.view {
		c.Offset, c.Count = o.offset, o.Count
	}
	if err := e.Put(c); err != nil {
		return err
	}
	return o.Guard.HandOver(e)
}

// TakeOver joins an object that another process handed over.
func (k Kind) TakeOver(d *handover.Decoder, lt *layout.Type) (*Object, error) {
	h, err := seg.TakeOver(d, "", "")
	if err != nil {
		return nil, err
	}
	var c crossing
	if err := d.Get(&c); err != nil {
		h.Close(nil)
		return nil, err
	}
	if c.View {
		if err := h.Check("segment", ""); err != nil && !h.Raw() {
			h.Close(nil)
			return nil, err
		}
		return k.over(h, lt, c.Offset, c.Count)
	}
	if err := h.Check(k.Name, lt.Text); err != nil {
		h.Close(nil)
		return nil, err
	}
	obj, err := k.join(h, lt, func(p Plan) (*guard.Guard, error) {
		return guard.TakeOver(d, h, p.Kind, GuardOffset, k.Wrap)
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.Name, err)
	}
	return obj, nil
}

// Layout is layout.Of for the kind's elements.
func Layout[T any](k Kind) (*layout.Type, error) {
	lt, err := layout.For[T]()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.Name, err)
	}
	return lt, nil
}

// Explain says what to do about an error of an object's guard.
func (k Kind) Explain(err error) error {
	switch {
	case errors.Is(err, lock.ErrOwnerDied):
		return fmt.Errorf("%s: a process died while it changed what the guard protects; put that right and call Mutex().Recover: %w", k.Name, err)
	case errors.Is(err, seg.ErrClosed):
		return k.Closed()
	}
	return err
}

// Closed is the error of methods of a closed object.
func (k Kind) Closed() error {
	return fmt.Errorf("%s: use of closed %s: %w", k.Name, k.Type, fs.ErrClosed)
}
