package wire

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The wrappers of package unix allocate an address for each message and tell the scheduler of each call. A try that
// returns at once needs neither.

// rawLimit is how many bytes a call may copy without telling the scheduler, which could not stop the
// thread meanwhile: a few microseconds.
const rawLimit = 32 << 10

// rightsSpace is room for the most descriptors that one message can carry, and for some other ancillary data that we did not
// ask for.
var rightsSpace = unix.CmsgSpace(4*MaxRights) + 128

func prepareSocket(int) error { return nil }

func socketpair() ([2]int, error) {
	return unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

// A receiver is one receive at a time. It lives in the Conn, so that a receive allocates nothing.
type receiver struct {
	spinner Spinner
	step    func(fd uintptr) bool // for RawConn.Read: true when done
	try     func() bool

	fd      uintptr
	tried   bool
	msg     unix.Msghdr
	iov     unix.Iovec
	control []byte
	n       int
	errno   syscall.Errno
}

func (r *receiver) init() {
	r.step, r.try = r.receive, r.receiveNow
}

// begin sets up a receive into b.
func (r *receiver) begin(b []byte, rights bool) {
	if rights && r.control == nil {
		r.control = make([]byte, rightsSpace)
	}
	r.iov.Base = unsafe.SliceData(b)
	r.iov.SetLen(len(b))
	r.msg.Iov = &r.iov
	r.msg.Iovlen = 1
	r.n, r.errno, r.tried = 0, 0, false
	r.msg.SetControllen(0)
	r.msg.Flags = 0
}

func (r *receiver) receive(fd uintptr) (done bool) {
	r.fd = fd
	if r.receiveNow() {
		return true
	}
	if r.tried { // it was woken for nothing
		return false
	}
	r.tried = true
	return r.spinner.Spin(r.try)
}

// receiveNow tries once. It reports false if there was nothing.
func (r *receiver) receiveNow() bool {
	// MSG_DONTWAIT as well as O_NONBLOCK, because the flag belongs to the socket, which other processes may share.
	const flags = unix.MSG_DONTWAIT | unix.MSG_CMSG_CLOEXEC
	for {
		r.msg.Control = unsafe.SliceData(r.control)
		r.msg.SetControllen(len(r.control))
		var n uintptr
		if r.iov.Len <= rawLimit {
			n, _, r.errno = unix.RawSyscall(unix.SYS_RECVMSG, r.fd, uintptr(unsafe.Pointer(&r.msg)), flags)
		} else {
			n, _, r.errno = unix.Syscall(unix.SYS_RECVMSG, r.fd, uintptr(unsafe.Pointer(&r.msg)), flags)
		}
		switch r.errno {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			r.errno = 0
			r.msg.SetControllen(0)
			return false
		case 0:
			r.n = int(n)
		default:
			r.msg.SetControllen(0)
		}
		return true
	}
}

// finish returns what the receive did.
func (r *receiver) finish() (n int, got received, errno syscall.Errno) {
	if r.tried {
		r.spinner.Done()
	}
	r.iov.Base = nil
	if r.msg.Controllen > 0 {
		got.fds = parseRights(r.control[:r.msg.Controllen])
	}
	got.lost = r.msg.Flags&unix.MSG_CTRUNC != 0
	r.msg.Flags = 0
	r.msg.SetControllen(0)
	return r.n, got, r.errno
}

// parseRights returns the descriptors in a control buffer.
func parseRights(control []byte) (fds []int) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	for i := range messages {
		if some, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, some...)
		}
	}
	return fds
}

// A sender is one send at a time.
type sender struct {
	step func(fd uintptr) bool // for RawConn.Write: true when done

	msg   unix.Msghdr
	iov   [2]unix.Iovec
	left  int
	sent  int
	errno syscall.Errno
	small []byte // scratch for a message that is sent in one piece
}

// smallSend is up to which size a copy is cheaper than the kernel's way of collecting pieces.
const smallSend = 1 << 10

func (s *sender) init() { s.step = s.send }

// begin sets up a send of head, body, and rights with the first byte of them.
func (s *sender) begin(head, body, rights []byte) {
	if len(rights) == 0 && len(head)+len(body) <= smallSend {
		if s.small == nil {
			s.small = make([]byte, 0, smallSend)
		}
		s.small = append(append(s.small[:0], head...), body...)
		head, body = s.small, nil
	}
	s.iov[0].Base = unsafe.SliceData(head)
	s.iov[0].SetLen(len(head))
	s.iov[1].Base = unsafe.SliceData(body)
	s.iov[1].SetLen(len(body))
	s.msg.Iov = &s.iov[0]
	s.msg.Iovlen = 2
	s.msg.Control = unsafe.SliceData(rights)
	s.msg.SetControllen(len(rights))
	s.left, s.sent, s.errno = len(head)+len(body), 0, 0
}

func (s *sender) send(fd uintptr) (done bool) {
	const flags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	for s.left > 0 {
		var n uintptr
		if s.left == int(s.iov[0].Len) && s.msg.Control == nil && s.left <= rawLimit {
			n, _, s.errno = unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(s.iov[0].Base)), uintptr(s.left), flags, 0, 0)
		} else if s.left <= rawLimit {
			n, _, s.errno = unix.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&s.msg)), flags)
		} else {
			n, _, s.errno = unix.Syscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&s.msg)), flags)
		}
		switch s.errno {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			s.errno = 0
			return false
		case 0:
			s.advance(int(n))
		default:
			return true
		}
	}
	return true
}

// advance leaves out what was sent. The descriptors went with its first byte.
func (s *sender) advance(n int) {
	s.sent += n
	s.left -= n
	s.msg.Control = nil
	s.msg.SetControllen(0)
	for i := range s.iov {
		v := &s.iov[i]
		step := min(n, int(v.Len))
		if step == 0 {
			continue
		}
		n -= step
		if rest := int(v.Len) - step; rest > 0 {
			v.Base = (*byte)(unsafe.Add(unsafe.Pointer(v.Base), step))
			v.SetLen(rest)
		} else {
			v.Base = nil // never a pointer to the end of an object: the collector takes it for the next one
			v.SetLen(0)
		}
	}
}

func (s *sender) finish() (sent int, errno syscall.Errno) {
	s.iov[0].Base, s.iov[1].Base, s.msg.Control = nil, nil, nil
	return s.sent, s.errno
}
