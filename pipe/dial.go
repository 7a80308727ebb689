package pipe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/wire"
)

// Dial connects to a listener, of this package or of Python's multiprocessing.connection, and authenticates if o.AuthKey is not nil. network
// is "unix", "tcp", "tcp4" or "tcp6"; address is a path, which may have any length, or host:port.
//
// ctx bounds connecting and authenticating; without a deadline a listener that does not answer is waited for. When ctx ends, its
// error is returned as it is. Other errors: those of net.Dial, and ErrAuth.
func Dial(ctx context.Context, network, address string, o Options) (*Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c, err := dial(ctx, network, address, o)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("pipe: dial %s %s: %w", network, address, err)
	}
	return c, nil
}

func dial(ctx context.Context, network, address string, o Options) (*Conn, error) {
	target, release, err := resolve(network, address)
	if err != nil {
		return nil, err
	}
	defer release()
	var w *wire.Conn
	var local, remote net.Addr
	if network == "unix" {
		w, err = connectUnix(ctx, target)
		local, remote = &net.UnixAddr{Net: network}, &net.UnixAddr{Net: network, Name: address}
	} else {
		w, local, remote, err = connectTCP(ctx, network, target)
	}
	if err != nil {
		return nil, err
	}
	if o.AuthKey != nil {
		stop := context.AfterFunc(ctx, func() { w.SetDeadline(time.Unix(1, 0)) })
		err := newAuthenticator(o).asClient(w)
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			w.Close()
			return nil, err
		}
	}
	c := newConn(w, bothWays, o.MaxMessage)
	c.local, c.remote = local, remote
	return c, nil
}

func connectTCP(ctx context.Context, network, address string) (w *wire.Conn, local, remote net.Addr, err error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		if e := (*net.OpError)(nil); errors.As(err, &e) {
			err = e.Err // the rest repeats what Dial says
		}
		return nil, nil, nil, err
	}
	w, err = takeNet(nc)
	return w, nc.LocalAddr(), nc.RemoteAddr(), err
}

// connectUnix connects to a socket file. A listener whose queue is full (Python's has room for two) is waited for, which a
// non-blocking connect, and so package net, does not do: it fails with EAGAIN.
func connectUnix(ctx context.Context, path string) (*wire.Conn, error) {
	fd, err := socket()
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	// A blocking connect heeds the send timeout and no cancellation, so it waits in slices of one.
	slice := unix.NsecToTimeval(int64(50 * time.Millisecond))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &slice); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("setsockopt", err)
	}
	for {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		if err != unix.EINTR && err != unix.EAGAIN || ctx.Err() != nil {
			break
		}
	}
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, new(unix.Timeval))
	}
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return wire.New(fd)
}

// takeNet takes the socket out of a connection of package net, which it closes.
func takeNet(nc net.Conn) (*wire.Conn, error) {
	defer nc.Close()
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, err
	}
	return takeSocket(raw)
}

// takeSocket makes a wire of a duplicate of a socket.
func takeSocket(raw syscall.RawConn) (*wire.Conn, error) {
	fd, err := dup(raw)
	if err != nil {
		return nil, err
	}
	return wire.New(fd)
}

func dup(raw syscall.RawConn) (fd int, err error) {
	if e := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); e != nil {
		return -1, e
	}
	return fd, os.NewSyscallError("fcntl", err)
}
