// Package handover turns values that may contain handles (locks, segments, pipe ends, files, connections) into bytes and file
// descriptors for another process, and back.
//
// The sender trusts nobody but itself: what cannot cross is refused before anything is sent, with the path to it. The receiver trusts
// neither the bytes nor the number of descriptors: whatever is wrong with them is an error, never a panic, and then every
// descriptor is closed, those that had already become handles included.
//
// A process that dies takes nothing along: descriptors wait in a Message as duplicates that the kernel closes with their process, and
// those in flight are closed by the kernel with the socket that carries them.
//
// A Message is closed by Sent or Drop, and what arrived by Taken.Close.
//
//	m, err := handover.Marshal(args, "args")   // args.Jobs[3].Mu: a sync.Mutex cannot be passed to another process; use psync.Mutex
//	if err != nil { return err }
//	if err := conn.WriteFrame(m.Data, m.FDs); err != nil { m.Drop(); return err }
//	m.Sent()
//
//	data, fds, err := conn.ReadFrame(max)
//	var args T
//	taken, err := handover.Unmarshal(data, fds, &args)
//
// For plain data alone, whose type is known not to contain itself, package codec does.
//
// # Wire form
//
// The bytes are one CBOR item, as package codec writes it. Types that cannot hold a handle, an interface or themselves are handed to
// that package whole; only the others are walked, one Go value at a time, and written in the same form. A handle is an array: a number
// that identifies it within the message, then what its HandOver put; a descriptor in it is its index in the descriptor list. A handle
// that occurs twice is written twice with the same number, not referred to, so that a receiver that skips a field it does not know loses
// nothing. It arrives as one handle.
package handover

import (
	"bytes"
	"reflect"

	"github.com/go-multiproc/multiproc/internal/codec"
)

// A Handle is a pointer to one of the toolkit's handle types. The two methods mirror each other: what one puts, the other gets, in the
// same order. A type has to declare both itself or embed an unexported type that does: methods promoted from an exported embedded
// type are a user's struct with a handle in it, which crosses field by field.
type Handle interface {
	// HandOver describes the handle to e. It runs in the sender, may run for several messages at once, and must leave the handle usable;
	// what is to happen to it once it is gone goes into OnSent.
	HandOver(e *Encoder) error

	// TakeOver fills the zero handle that it is called on with what d has. On error it must have released all that it took.
	// It must expect any bytes and any kind of descriptor.
	TakeOver(d *Decoder) error
}

// An Option changes what Marshal lets pass.
type Option struct {
	verb      string
	noHandles bool
	noFDs     bool
	sorted    bool
}

// NoHandles refuses every handle that is not nil. verb says what cannot be done with one: "be put in a queue".
func NoHandles(verb string) Option { return Option{verb: verb, noHandles: true} }

// NoDescriptors refuses every handle that needs a file descriptor. verb says what cannot be done with one: "be sent over TCP".
func NoDescriptors(verb string) Option { return Option{verb: verb, noFDs: true} }

// A Message is a value on its way to another process. Its owner must call Sent or Drop; the second of such calls does nothing. It is
// not for use by several goroutines at once.
type Message struct {
	Data []byte // one CBOR item
	FDs  []int  // to go with it, in this order; they stay the Message's

	release []func()
	onSent  []func()
	onDrop  []func()
	done    bool
}

// Sent says that the message went out: it releases the descriptors, and handles that move are closed.
func (m *Message) Sent() { m.finish(m.onSent) }

// Drop says that the message did not go out, or not whole: it releases the descriptors, and all handles stay with the sender.
func (m *Message) Drop() { m.finish(m.onDrop) }

func (m *Message) finish(hooks []func()) {
	if m.done {
		return
	}
	m.done = true
	for _, f := range m.release {
		f()
	}
	for _, f := range hooks {
		f()
	}
	// The descriptors' numbers may belong to somebody else by now.
	m.FDs, m.release, m.onSent, m.onDrop = nil, nil, nil, nil
}

// Plain reports that nothing but the bytes is in m: there is nothing to release, and Sent and Drop do nothing.
func (m *Message) Plain() bool { return len(m.release)+len(m.onSent)+len(m.onDrop)+len(m.FDs) == 0 }

// Marshal describes v, which errors call root: "args". It does not change v; a nil v is a nil at the receiver. On error nothing is held.
//
// What crosses: plain data, handles and, as duplicates, *os.File, net.Conn, net.PacketConn, net.Listener and package net's own
// types of these, wherever they stand: in fields, slices, arrays, map values, behind pointers. A handle found in two places arrives
// as one handle in both. Other pointers that point to one value arrive as pointers to copies of it. An any may hold plain data only
// (integers arrive as int64, slices as []any, maps as map[string]any). What is nil arrives nil.
func Marshal(v any, root string, opts ...Option) (*Message, error) {
	m := new(Message)
	rv := reflect.ValueOf(v)
	if !rv.IsValid() {
		m.Data = []byte{0xf6}
		return m, nil
	}
	e := encoders.Get().(*Encoder)
	e.msg, e.verb = m, "be passed to another process"
	for _, o := range opts {
		if o.verb != "" {
			e.verb = o.verb
		}
		e.sorted = e.sorted || o.sorted
		e.noHandles = e.noHandles || o.noHandles
		e.noFDs = e.noFDs || o.noFDs
	}
	ok := false
	defer func() {
		if !ok { // also when a method of the value panics
			m.Drop()
		}
	}()
	p := planOf(rv.Type())
	if p.sized {
		if n := atLeast(rv, 4); n > worthReserving {
			if n > largest {
				e.buf = bytes.Buffer{} // the message's own, to go out without a copy
			}
			e.buf.Grow(n + n/16)
		}
	}
	if err := e.value(rv, p); err != nil {
		return nil, rooted(root, err)
	}
	m.Data = e.finish()
	ok = true
	return m, nil
}

// AppendPlain appends what Marshal would have in Data, if v is plain data of moderate size: then there is no Message to make and to
// release, and b may be memory for many messages in turn. Else, and on any error, it reports false: then Marshal knows what to do.
func AppendPlain(b []byte, v any) (_ []byte, ok bool) {
	rv := reflect.ValueOf(v)
	if !rv.IsValid() {
		return b, false
	}
	p := planOf(rv.Type())
	if p.enc || p.sized && atLeast(rv, 4) > worthReserving {
		return b, false
	}
	out, err := codec.Append(b, v)
	return out, err == nil
}

// Plain reports whether package codec alone does for values of type t: every one of them can cross, and is what it is without a walk.
func Plain(t reflect.Type) bool { return !planOf(t).enc }

// Whole reports whether package codec alone writes and reads all that is in a value of type t: no field is left out because JSON would leave it out, has the name of another, or stands
// beside an embedded type that encodes itself.
func Whole(t reflect.Type) bool { return !planOf(t).dec }

// Unmarshal fills *p with what data and fds describe, replacing what was there. It owns fds from the call on: those that a handle
// claims are that handle's, and the rest are closed. On error all of them are, and *p is zero. Bytes that end early are
// io.ErrUnexpectedEOF.
//
// Fields that the message does not have stay zero, and fields that *p does not have are skipped, so that an older and a newer program
// may talk.
func Unmarshal(data []byte, fds []int, p any) (*Taken, error) {
	if v := reflect.ValueOf(p); len(fds) == 0 && v.Kind() == reflect.Pointer && !v.IsNil() && !planOf(v.Type().Elem()).dec {
		// Plain data needs no Decoder, which would look at the bytes twice.
		if err := codec.Unmarshal(data, p); err != nil {
			v.Elem().SetZero()
			return nil, rooted("message", err)
		}
		return new(Taken), nil
	}
	d := &Decoder{data: data, fds: fds, claimed: make([]bool, len(fds)), taken: new(Taken)}
	ok := false
	defer func() {
		d.closeUnclaimed()
		if !ok {
			d.taken.Close()
		}
	}()
	if err := d.message(p); err != nil {
		return nil, rooted("message", err)
	}
	ok = true
	return d.taken, nil
}
