package handover

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"reflect"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/codec"
)

// What a descriptor is to become at the receiver.
const (
	kindFile     = "file"
	kindConn     = "conn"
	kindListener = "listener"
	kindPacket   = "packetconn"
)

// descriptorKind is one of these for the types that are descriptors, "" for all others. (A map would be made whenever a program begins.)
func descriptorKind(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[*os.File]():
		return kindFile
	case reflect.TypeFor[net.Conn](), reflect.TypeFor[*net.TCPConn](), reflect.TypeFor[*net.UnixConn](), reflect.TypeFor[*net.UDPConn](), reflect.TypeFor[*net.IPConn]():
		return kindConn
	case reflect.TypeFor[net.Listener](), reflect.TypeFor[*net.TCPListener](), reflect.TypeFor[*net.UnixListener]():
		return kindListener
	case reflect.TypeFor[net.PacketConn]():
		return kindPacket
	}
	return ""
}

func isDescriptor(t reflect.Type) bool { return descriptorKind(t) != "" }

// descriptor writes a file, connection or listener. The sender keeps its own: what goes is a duplicate. Both share the open file,
// its O_NONBLOCK included, which is why Fd() is not asked: it would make both blocking, and take the deadlines away.
func (e *Encoder) descriptor(v reflect.Value) error {
	if v.IsNil() {
		codec.WriteNull(&e.buf)
		return nil
	}
	kind := descriptorKind(v.Type())
	if v.Kind() == reflect.Interface {
		if v = v.Elem(); v.Kind() == reflect.Pointer && v.IsNil() {
			return fmt.Errorf("a nil %s in an interface", v.Type())
		}
	}
	x := v.Interface()
	c, ok := x.(syscall.Conn)
	if !ok && !e.noHandles {
		r := &refusal{what: a(v.Type()), why: "it has no file descriptor"}
		if u, ok := x.(interface{ NetConn() net.Conn }); ok {
			r.hint = fmt.Sprintf("pass the %T under it, before it is used", u.NetConn())
		}
		return e.refuse(r)
	}
	handOver := func(e *Encoder) error {
		name := ""
		if f, ok := x.(*os.File); ok {
			name = f.Name()
		}
		if e.noFDs {
			e.fdsRefused = true
			return nil
		}
		fd, err := dup(c)
		if err != nil {
			return err
		}
		e.FD(fd, func() { unix.Close(fd) })
		if err := e.Put(kind); err != nil {
			return err
		}
		return e.Put(name)
	}
	return e.once(v, handOver)
}

func dup(c syscall.Conn) (int, error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var dupErr error
	err = rc.Control(func(old uintptr) {
		fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	// The RawConn of a file does not translate package poll's error for one that is closed, which nobody can test for.
	if f, ok := c.(*os.File); ok && err != nil {
		if _, statErr := f.Stat(); errors.Is(statErr, fs.ErrClosed) {
			err = fs.ErrClosed
		}
	}
	if err == nil && dupErr != nil {
		err = os.NewSyscallError("dup", dupErr)
		if errors.Is(dupErr, unix.EMFILE) {
			err = fmt.Errorf("%w: raise RLIMIT_NOFILE", err)
		}
	}
	return fd, err
}

func (d *Decoder) descriptor(v reflect.Value, p *plan) error {
	return d.once(v, func(d *Decoder) (h reflect.Value, err error) {
		fd, err := d.FD()
		if err != nil {
			return h, err
		}
		// If the file is non-blocking, as pipes and sockets of a Go program are, NewFile sees that and deadlines work.
		var kind, name string
		defer func() {
			if err != nil && fd >= 0 {
				unix.Close(fd)
			}
		}()
		if err := d.Get(&kind); err != nil {
			return h, err
		}
		if err := d.Get(&name); err != nil {
			return h, err
		}
		if want := descriptorKind(p.t); kind != want && !(kind == kindConn && want == kindPacket) && !(kind == kindPacket && want == kindConn) {
			return h, fmt.Errorf("a %s has come where a %s is needed", kind, want)
		}
		f := os.NewFile(uintptr(fd), name)
		if f == nil {
			return h, errors.New("not a descriptor")
		}
		fd = -1
		var x any
		switch kind {
		case kindFile:
			return reflect.ValueOf(f), nil
		case kindConn:
			x, err = net.FileConn(f)
		case kindListener:
			x, err = net.FileListener(f)
		case kindPacket:
			x, err = net.FilePacketConn(f)
		}
		f.Close() // package net has made its own duplicate
		if err != nil {
			return h, err
		}
		return reflect.ValueOf(x), nil
	})
}
