package seg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/sys"
)

// Open joins a named segment that holds the kind of object with the type of
// elements. An empty kind takes every segment.
func Open(name, kind, typ string, o Options) (*Handle, error) {
	path, err := o.path("open", name)
	if err != nil {
		return nil, err
	}
	for {
		h, retry, err := open(path, name, kind, typ, o)
		if !retry {
			return h, err
		}
	}
}

// open is one try of Open. It asks for another when the name was removed or
// went to another file while this one was being opened.
func open(path, name, kind, typ string, o Options) (h *Handle, retry bool, err error) {
	fail := func(err error) (*Handle, bool, error) {
		return nil, false, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	fd, st, err := openFile(path, o)
	if err != nil {
		return fail(err)
	}
	defer unix.Close(fd)
	foot, err := readFooter(fd, st.Size)
	if err != nil {
		return fail(err)
	}
	if err := foot.check(kind, typ); err != nil {
		return fail(err)
	}
	registry.Lock()
	defer registry.Unlock()
	m, err := joinLocked(fd, st, foot)
	if err != nil {
		return fail(err)
	}
	// The token's lock is held now, so from here on nobody reaps the segment.
	// Before, somebody may have.
	if !isAt(fd, path) {
		if m.handles == 0 {
			m.discard()
		}
		return nil, true, nil
	}
	return m.handleLocked(name), false, nil
}

// openFile opens a regular file that the options allow.
func openFile(path string, o Options) (int, *unix.Stat_t, error) {
	var fd int
	// O_NONBLOCK: opening must not wait for the other side of a named pipe that
	// somebody put there.
	err := sys.IgnoringEINTR(func() (err error) {
		fd, err = unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		return err
	})
	switch {
	case errors.Is(err, unix.ELOOP):
		return -1, nil, fmt.Errorf("%w: it is a symbolic link", ErrFormat)
	case errors.Is(err, unix.EISDIR), errors.Is(err, unix.ENXIO):
		return -1, nil, fmt.Errorf("%w: it is not a regular file", ErrFormat)
	case err != nil:
		return -1, nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, nil, os.NewSyscallError("fstat", err)
	}
	if err := acceptable(&st, o); err != nil {
		unix.Close(fd)
		return -1, nil, err
	}
	return fd, &st, nil
}

func acceptable(st *unix.Stat_t, o Options) error {
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fmt.Errorf("%w: it is not a regular file", ErrFormat)
	}
	if uid := uint32(os.Geteuid()); st.Uid != uid && !o.AnyOwner {
		return fmt.Errorf("it belongs to user %d, this process runs as %d; Options.AnyOwner accepts that: %w", st.Uid, uid, fs.ErrPermission)
	}
	return nil
}

func readFooter(fd int, size int64) (*footer, error) {
	b := make([]byte, footerSize)
	n := 0
	if size >= footerSize {
		var err error
		if n, err = unix.Pread(fd, b, size-footerSize); err != nil {
			return nil, os.NewSyscallError("pread", err)
		}
	}
	return parseFooter(b[:n], size)
}

// joinLocked finds this process's mapping of the segment behind fd, or makes a
// new one, which has no handles yet: the caller makes one, or discards it.
//
// Preconditions: registry is locked.
func joinLocked(fd int, st *unix.Stat_t, foot *footer) (*Mapping, error) {
	if m := registry.m[regKey{id: foot.id}]; m != nil {
		var have unix.Stat_t
		if err := unix.Fstat(m.fd, &have); err != nil || have.Ino != st.Ino || have.Dev != st.Dev {
			return nil, fmt.Errorf("%w: it is a copy of a segment that this process has open already", ErrFormat)
		}
		return m, nil
	}
	return newMapping(fd, foot)
}

// Attach takes over a descriptor of a segment that another process sent, and
// owns it from then on. An empty kind takes every segment; raw says that it is a
// foreign file.
func Attach(fd int, name, kind, typ string, raw bool) (*Handle, error) {
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("%w: the descriptor that arrived is not a file", ErrFormat)
	}
	if raw {
		return joinRaw(fd, name, &st)
	}
	foot, err := readFooter(fd, st.Size)
	if err != nil {
		return nil, err
	}
	if err := foot.check(kind, typ); err != nil {
		return nil, err
	}
	if st.Nlink == 0 && name == "" && !sys.SizeSealed(fd) {
		return nil, fmt.Errorf("%w: anonymous memory that arrived can be resized under this process", ErrFormat)
	}
	registry.Lock()
	defer registry.Unlock()
	m, err := joinLocked(fd, &st, foot)
	if err != nil {
		return nil, err
	}
	return m.handleLocked(name), nil
}

// OpenRaw maps a file that some other program made.
func OpenRaw(name string, o Options) (*Handle, error) {
	path, err := o.path("open", name)
	if err != nil {
		return nil, err
	}
	fd, st, err := openFile(path, o)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	h, err := joinRaw(fd, name, st)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return h, nil
}

// joinRaw finds or makes the mapping of a foreign file. It leaves fd open.
func joinRaw(fd int, name string, st *unix.Stat_t) (*Handle, error) {
	if st.Size <= 0 || st.Size > maxSegment {
		return nil, fmt.Errorf("%w: it has %d bytes", ErrFormat, st.Size)
	}
	key := regKey{dev: st.Dev, ino: st.Ino}
	registry.Lock()
	defer registry.Unlock()
	if m := registry.m[key]; m != nil {
		if int64(len(m.all)) != st.Size {
			return nil, fmt.Errorf("%w: it was resized from %d to %d bytes while this process has it open", ErrFormat, len(m.all), st.Size)
		}
		return m.handleLocked(name), nil
	}
	mm, err := mapFile(fd, st.Size)
	if err != nil {
		return nil, err
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		_ = mm.Unmap()
		return nil, os.NewSyscallError("dup", err)
	}
	m := &Mapping{
		foot: &footer{dataSize: st.Size, fileSize: st.Size, metaOff: st.Size, kind: "raw"},
		raw:  true, key: key, mm: mm, all: mm, fd: own,
	}
	return m.handleLocked(name), nil
}
