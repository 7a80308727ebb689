//go:build unix && !linux

package wire

import (
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Elsewhere the wrappers of package unix do; they allocate a little for each message.

var rightsSpace = unix.CmsgSpace(4 * MaxRights)

// prepareSocket turns off SIGPIPE, for which there is no flag per message here.
func prepareSocket(fd int) error {
	if runtime.GOOS != "darwin" && runtime.GOOS != "ios" {
		return nil
	}
	const soNoSigPipe = 0x1022
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, soNoSigPipe, 1)
}

func socketpair() ([2]int, error) {
	// The lock keeps a fork from happening before the descriptors are close-on-exec.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	return fds, err
}

type receiver struct {
	spinner Spinner
	step    func(fd uintptr) bool // for RawConn.Read: true when done
	try     func() bool

	fd      int
	tried   bool
	b       []byte
	control []byte
	n, oobn int
	flags   int
	errno   syscall.Errno
}

func (r *receiver) init() {
	r.step, r.try = r.receive, r.receiveNow
}

func (r *receiver) begin(b []byte, rights bool) {
	if rights && r.control == nil {
		r.control = make([]byte, rightsSpace)
	}
	r.b, r.n, r.oobn, r.flags, r.errno, r.tried = b, 0, 0, 0, 0, false
}

func (r *receiver) receive(fd uintptr) (done bool) {
	r.fd = int(fd)
	if r.receiveNow() {
		return true
	}
	if r.tried {
		return false
	}
	r.tried = true
	return r.spinner.Spin(r.try)
}

func (r *receiver) receiveNow() bool {
	for {
		n, oobn, flags, _, err := unix.Recvmsg(r.fd, r.b, r.control, unix.MSG_DONTWAIT)
		switch err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		case nil:
			r.n, r.oobn, r.flags = n, oobn, flags
		default:
			r.errno, _ = err.(syscall.Errno)
		}
		return true
	}
}

func (r *receiver) finish() (n int, got received, errno syscall.Errno) {
	if r.tried {
		r.spinner.Done()
	}
	r.b = nil
	if r.oobn > 0 {
		messages, _ := unix.ParseSocketControlMessage(r.control[:r.oobn])
		for i := range messages {
			fds, _ := unix.ParseUnixRights(&messages[i])
			for _, fd := range fds {
				unix.CloseOnExec(fd)
			}
			got.fds = append(got.fds, fds...)
		}
	}
	got.lost = r.flags&unix.MSG_CTRUNC != 0
	return r.n, got, r.errno
}

type sender struct {
	step func(fd uintptr) bool // for RawConn.Write: true when done

	parts  [][]byte
	rights []byte
	sent   int
	errno  syscall.Errno
}

func (s *sender) init() { s.step = s.send }

func (s *sender) begin(head, body, rights []byte) {
	s.parts, s.rights, s.sent, s.errno = append(s.parts[:0], head, body), rights, 0, 0
}

func (s *sender) send(fd uintptr) (done bool) {
	for len(s.parts) > 0 {
		if len(s.parts[0]) == 0 {
			s.parts = s.parts[1:]
			continue
		}
		n, err := unix.SendmsgBuffers(int(fd), s.parts, s.rights, nil, unix.MSG_DONTWAIT)
		switch err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		case nil:
			s.sent += n
			s.rights = nil
			for n > 0 {
				step := min(n, len(s.parts[0]))
				s.parts[0] = s.parts[0][step:]
				if n -= step; len(s.parts[0]) == 0 {
					s.parts = s.parts[1:]
				}
			}
		default:
			s.errno, _ = err.(syscall.Errno)
			return true
		}
	}
	return true
}

func (s *sender) finish() (sent int, errno syscall.Errno) {
	s.parts, s.rights = nil, nil
	return s.sent, s.errno
}
