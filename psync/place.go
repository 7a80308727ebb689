package psync

import (
	"fmt"
	"io/fs"
	"sync"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/internal/sema"
	"github.com/go-multiproc/multiproc/shm"
)

// Alignment is what the offset of an object in a segment must be a multiple of: a
// cache line, for every type.
const Alignment = 64

// A kind is one of the types of this package, as segments know it.
//
// Each object starts with a cache line whose last word is its tag, so that nobody
// takes one for another, or foreign bytes for one:
//
//	bits  0-31  the object's parameter: permits, parties; 0 if it has none
//	bits 32-39  kind
//	bits 40-47  version of its layout
//	bits 48-63  tagMagic
//
// All other bytes of a fresh object are zero, and the tag is written by one
// compare-and-swap. So an object in a caller's segment comes into being in one step,
// by whoever is there first, and nobody has to be the one who makes it.
type kind struct {
	name    string // as in errors
	segment string // what a segment is said to hold that holds nothing else
	code    uint8
	// size is the number of bytes that an object with the parameter takes, a multiple
	// of Alignment; an error if there is no such object.
	size func(param uint32) (int, error)
}

const (
	tagOffset  = 56
	tagMagic   = 0x9d53
	tagVersion = 1
)

// The codes and names of the kinds. Their order is part of the layout.
const (
	mutexCode = 1 + iota
	rwmutexCode
	semaphoreCode
	condCode
	eventCode
	barrierCode
	onceCode
	rmutexCode
)

var (
	kindNames    = [...]string{"", "Mutex", "RWMutex", "Semaphore", "Cond", "Event", "Barrier", "Once", "RMutex"}
	kindSegments = [...]string{"", "mutex", "rwmutex", "semaphore", "cond", "event", "barrier", "once", "rmutex"}
)

func newKind(code uint8, size func(param uint32) (int, error)) *kind {
	return &kind{name: kindNames[code], segment: kindSegments[code], code: code, size: size}
}

// text says what an object with the code and the parameter is.
func text(code uint8, param uint32) string {
	switch {
	case code == semaphoreCode:
		return sema.Param(param).String()
	case param != 0:
		return fmt.Sprintf("%s of %d", article(code), param)
	}
	return article(code)
}

// article is the name of a kind with its article.
func article(code uint8) string {
	if name := kindNames[code]; name[0] == 'E' || name[0] == 'R' {
		return "an " + name
	}
	return "a " + kindNames[code]
}

func (k *kind) a() string { return article(k.code) }

// fixed is the size of a kind without a parameter.
func fixed(n int) func(uint32) (int, error) {
	return func(param uint32) (int, error) {
		if param != 0 {
			return 0, fmt.Errorf("a parameter (%d), which it does not have", param)
		}
		return n, nil
	}
}

// A spot is where an object stands, and this process's hold on it.
type spot struct {
	h      *seg.Handle
	off    int // in the segment's file
	param  uint32
	placed bool // in a caller's segment
}

// meta is the offset from the start of the segment's meta area.
func (p spot) meta() int { return p.off - p.h.Mapping().MetaOffset() }

func (k *kind) tag(param uint32) uint64 {
	return tagMagic<<48 | tagVersion<<40 | uint64(k.code)<<32 | uint64(param)
}

// spec is what an object with the parameter asks of a segment of its own. init fills
// what is not zero in the beginning; it may be nil.
func (k *kind) spec(param uint32, init func(b []byte)) (seg.Spec, error) {
	n, err := k.size(param)
	if err != nil {
		return seg.Spec{}, fmt.Errorf("psync: %s with %w: %w", k.a(), err, fs.ErrInvalid)
	}
	return seg.Spec{Kind: k.segment, Meta: n, Init: func(_, meta []byte) {
		seg.WordOf(meta[tagOffset:]).Store(k.tag(param))
		if init != nil {
			init(meta)
		}
	}}, nil
}

// make makes an anonymous object.
func (k *kind) make(param uint32, init func(b []byte)) (spot, error) {
	s, err := k.spec(param, init)
	if err != nil {
		return spot{}, err
	}
	return k.own(seg.New(s))
}

// create makes a named object.
func (k *kind) create(name string, param uint32, init func(b []byte), o seg.Options) (spot, error) {
	s, err := k.spec(param, init)
	if err != nil {
		return spot{}, err
	}
	return k.own(seg.Create(name, s, o))
}

// open joins a named object.
func (k *kind) open(name string, o seg.Options) (spot, error) {
	return k.own(seg.Open(name, k.segment, "", o))
}

// own looks at the object that has h's segment for itself, whose file may be
// anybody's.
func (k *kind) own(h *seg.Handle, err error) (spot, error) {
	if err != nil {
		return spot{}, err
	}
	p := spot{h: h, off: h.Mapping().MetaOffset()}
	if p.param, err = k.check(h.Meta()); err != nil {
		h.Close(nil)
		return spot{}, err
	}
	h.SetObject("psync", k.name)
	return p, nil
}

// check says whether b, which may be longer, starts with an object, and what its
// parameter is.
func (k *kind) check(b []byte) (param uint32, err error) {
	if len(b) < Alignment {
		return 0, fmt.Errorf("psync: %w: %s in %d bytes", shm.ErrFormat, k.a(), len(b))
	}
	t := seg.WordOf(b[tagOffset:]).Load()
	param = uint32(t)
	if t != k.tag(param) {
		return 0, fmt.Errorf("psync: %w: %s stands where %s should", shm.ErrType, describe(t), k.a())
	}
	n, err := k.size(param)
	if err != nil {
		return 0, fmt.Errorf("psync: %w: %s with %w", shm.ErrFormat, k.a(), err)
	}
	if n > len(b) {
		return 0, fmt.Errorf("psync: %w: %s that needs %d bytes stands in %d", shm.ErrFormat, k.a(), n, len(b))
	}
	return param, nil
}

// describe says what a tag tells.
func describe(t uint64) string {
	code, param := uint8(t>>32), uint32(t)
	switch {
	case t>>48 != tagMagic || code == 0 || int(code) >= len(kindNames):
		return "something unknown"
	case uint8(t>>40) != tagVersion:
		return fmt.Sprintf("%s in the layout of another release of the library", article(code))
	}
	return text(code, param)
}

// place joins the object with the parameter at off in a caller's segment, and makes it
// if the bytes there are zero.
func (k *kind) place(s *shm.Segment, off int, param uint32) (spot, error) {
	if s == nil {
		return spot{}, fmt.Errorf("psync: %s in a nil segment: %w", k.a(), fs.ErrInvalid)
	}
	n, err := k.size(param)
	if err != nil {
		return spot{}, fmt.Errorf("psync: %s with %w: %w", k.a(), err, fs.ErrInvalid)
	}
	h, err := seg.FromSegment(s).Another()
	if err != nil {
		return spot{}, err
	}
	p := spot{h: h, off: off, param: param, placed: true}
	if err = k.within(p, n); err == nil {
		err = k.claim(p, n, func() error { return k.settle(h.Data()[off:off+n], param, off) })
	}
	if err != nil {
		h.Close(nil)
		return spot{}, err
	}
	h.SetObject("psync", k.name)
	return p, nil
}

// within says whether the n bytes of an object are in the data of its segment.
func (k *kind) within(p spot, n int) error {
	size := len(p.h.Data())
	switch {
	case p.h.Raw():
		return fmt.Errorf("psync: %s cannot stand in a file that another program made, which does not tell when its processes die; use shm.New or shm.Create: %w",
			k.a(), fs.ErrInvalid)
	case p.off < 0 || p.off > size || n > size-p.off:
		return fmt.Errorf("psync: %s needs %d bytes: from byte %d on they are not all within the segment's %d: %w",
			k.a(), n, p.off, size, fs.ErrInvalid)
	case p.off%Alignment != 0:
		return fmt.Errorf("psync: byte %d is no place for %s: its offset must be a multiple of %d: %w",
			p.off, k.a(), Alignment, fs.ErrInvalid)
	}
	return nil
}

// settle makes sure that b is the object with the parameter.
func (k *kind) settle(b []byte, param uint32, off int) error {
	w := seg.WordOf(b[tagOffset:])
	t := w.Load()
	if t == 0 && !zero(b) {
		// Somebody else may have made it meanwhile, and use it already.
		if t = w.Load(); t == 0 {
			return fmt.Errorf("psync: %w: the bytes from %d on are neither zero nor %s", shm.ErrType, off, k.a())
		}
	}
	if t == 0 && w.CompareAndSwap(0, k.tag(param)) {
		return nil
	}
	if t = w.Load(); t != k.tag(param) {
		return k.other(t, spot{off: off, param: param})
	}
	return nil
}

// other is the error for an object with another tag at p.
func (k *kind) other(tag uint64, p spot) error {
	return fmt.Errorf("psync: %w: %s stands at byte %d, not %s", shm.ErrType, describe(tag), p.off, text(k.code, p.param))
}

// zero reports whether all of b, a number of words, is zero.
func zero(b []byte) bool {
	for ; len(b) > 0; b = b[8:] {
		if seg.WordOf(b).Load() != 0 {
			return false
		}
	}
	return true
}

// placedLocal is the key of a mapping's tenants. Those of companions are offsets.
const placedLocal = -1

// Tenants are the objects of a caller's segment that this process has joined. What it
// remembers of them (who waits, for one) it remembers as long as it has the segment
// open, by their offsets; so two of them must not overlap, not even one after the other.
type tenants struct {
	mu  sync.Mutex // protects all
	all []tenant   // in no order
}

type tenant struct {
	from, to int
	tag      uint64
}

// claim makes the n bytes at p the object's, in this process, if they can be and settle
// agrees.
func (k *kind) claim(p spot, n int, settle func() error) error {
	ts := p.h.Mapping().Local(placedLocal, func() any { return new(tenants) }).(*tenants)
	ts.mu.Lock()
	defer ts.mu.Unlock()
	me := tenant{p.off, p.off + n, k.tag(p.param)}
	for _, t := range ts.all {
		if t == me {
			return settle()
		}
		if t.from == me.from {
			return k.other(t.tag, p)
		}
		if t.from < me.to && me.from < t.to {
			return fmt.Errorf("psync: %w: %s at byte %d needs %d bytes, and bytes %d to %d are %s, in this process, as long as it has the segment open",
				shm.ErrType, text(k.code, p.param), p.off, n, t.from, t.to-1, describe(t.tag))
		}
	}
	if err := settle(); err != nil {
		return err
	}
	ts.all = append(ts.all, me)
	return nil
}

// A crossing says which object of its segment was handed over.
type crossing struct {
	Offset int  // from the start of the meta area, or, if placed, of the data
	Placed bool // in a caller's segment
}

// handOver describes the object to another process.
func (k *kind) handOver(e *handover.Encoder, p spot) error {
	if p.h == nil {
		return fmt.Errorf("psync: a %[1]s that was not made by New%[1]s, Create%[1]s, Open%[1]s or %[1]sAt: %w", k.name, fs.ErrInvalid)
	}
	if err := p.h.HandOver(e); err != nil {
		return err
	}
	c := crossing{Offset: p.meta()}
	if p.placed {
		c = crossing{Offset: p.off, Placed: true}
	}
	return e.Put(c)
}

// arrive joins the segment of an object that another process handed over.
func (k *kind) arrive(d *handover.Decoder) (*seg.Handle, crossing, error) {
	h, err := seg.TakeOver(d, "", "")
	if err != nil {
		return nil, crossing{}, err
	}
	var c crossing
	if err := d.Get(&c); err != nil {
		h.Close(nil)
		return nil, crossing{}, err
	}
	return h, c, nil
}

// takeOver joins an object that another process handed over.
func (k *kind) takeOver(d *handover.Decoder) (spot, error) {
	h, c, err := k.arrive(d)
	if err != nil {
		return spot{}, err
	}
	return k.join(h, c)
}

// join is takeOver behind arrive. It closes h when it returns an error.
func (k *kind) join(h *seg.Handle, c crossing) (p spot, err error) {
	p = spot{h: h, off: c.Offset, placed: c.Placed}
	b := h.Data()
	if !c.Placed {
		p.off += h.Mapping().MetaOffset()
		b = h.Meta()
	}
	if c.Offset < 0 || c.Offset%Alignment != 0 || c.Offset > len(b) || h.Raw() {
		err = fmt.Errorf("psync: %w: no %s at byte %d of %d", shm.ErrFormat, k.name, c.Offset, len(b))
	} else {
		p.param, err = k.check(b[c.Offset:])
	}
	if err == nil && c.Placed {
		n, _ := k.size(p.param) // check has seen to it
		err = k.claim(p, n, func() error { return nil })
	}
	if err != nil {
		h.Close(nil)
		return spot{}, err
	}
	h.SetObject("psync", k.name)
	return p, nil
}
