package seg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/sys"
)

// New makes an anonymous segment: a memfd, allocated in full and sealed against
// resizing, which the kernel frees with the last process that has it.
func New(s Spec) (*Handle, error) {
	foot, err := s.layout()
	if err != nil {
		return nil, err
	}
	fd, err := sys.MemfdCreate("multiproc-" + s.Kind)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := s.allocate(fd, foot, true); err != nil {
		return nil, err
	}
	if err := sys.SealSize(fd); err != nil {
		return nil, err
	}
	m, err := s.build(fd, foot)
	if err != nil {
		return nil, err
	}
	registry.Lock()
	defer registry.Unlock()
	return m.handleLocked(""), nil
}

// Create makes a named segment, complete before anybody can see it. An existing
// name is an error that is fs.ErrExist.
func Create(name string, s Spec, o Options) (*Handle, error) {
	path, err := o.path("create", name)
	if err != nil {
		return nil, err
	}
	foot, err := s.layout()
	if err != nil {
		return nil, err
	}
	mode := o.Mode
	if mode == 0 {
		mode = 0o600
	}
	fd, temp, err := unnamedFile(o.dir(), name)
	if err != nil {
		return nil, &fs.PathError{Op: "create", Path: path, Err: err}
	}
	defer unix.Close(fd)
	if temp != "" {
		defer unix.Unlink(temp)
	}
	if err := unix.Fchmod(fd, uint32(mode.Perm())); err != nil {
		return nil, &fs.PathError{Op: "chmod", Path: path, Err: err}
	}
	if err := s.allocate(fd, foot, isTmpfs(fd)); err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	m, err := s.build(fd, foot)
	if err != nil {
		return nil, err
	}
	// The token is locked by now, so Reap keeps its hands off from the first
	// instant that the name exists; and who opens that name in this process finds
	// this mapping, not a second one.
	registry.Lock()
	defer registry.Unlock()
	if err := sys.LinkFD(fd, path); err != nil {
		m.discard()
		return nil, &fs.PathError{Op: "create", Path: path, Err: err}
	}
	return m.handleLocked(name), nil
}

// build maps the new file behind fd and fills it.
func (s Spec) build(fd int, foot *footer) (*Mapping, error) {
	fixed := foot.encode()
	if _, err := unix.Pwrite(fd, fixed, foot.fileSize-footerSize); err != nil {
		return nil, os.NewSyscallError("pwrite", err)
	}
	m, err := newMapping(fd, foot)
	if err != nil {
		return nil, err
	}
	if s.Init != nil {
		d := foot.dataSize
		s.Init(m.all[:d:d], m.all[foot.metaOff:foot.metaOff+foot.metaSize:foot.metaOff+foot.metaSize])
	}
	return m, nil
}

// unnamedFile makes a file in dir that has no name yet. Where the file system
// has no O_TMPFILE, it has the name temp, which the caller unlinks; until it closes
// fd, Reap leaves that alone.
func unnamedFile(dir, name string) (fd int, temp string, err error) {
	err = sys.IgnoringEINTR(func() (err error) {
		fd, err = unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err == nil || !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return fd, "", err
	}
	for i := range 1000 {
		temp = dir + "/" + tempNames + strconv.Itoa(os.Getpid()) + "." + strconv.Itoa(i)
		fd, err = unix.Open(temp, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			return -1, "", err
		}
		mine, err := sys.TryLockRange(fd, unfinished, 1)
		if err != nil {
			unix.Close(fd)
			unix.Unlink(temp)
			return -1, "", err
		}
		if mine && isAt(fd, temp) {
			return fd, temp, nil
		}
		unix.Close(fd) // a Reap was quicker, and takes it away
	}
	return -1, "", err
}

// isAt reports whether fd's file is the one at path.
func isAt(fd int, path string) bool {
	var is, at unix.Stat_t
	return unix.Fstat(fd, &is) == nil && unix.Lstat(path, &at) == nil && is.Dev == at.Dev && is.Ino == at.Ino
}

const (
	unchecked = 1 << 20   // smaller segments are not worth a look at /proc
	maxStep   = 256 << 20 // how much is taken between two looks
)

// allocate puts memory behind all of a new file but its sparse part.
func (s Spec) allocate(fd int, foot *footer, memory bool) error {
	if s.Sparse == 0 {
		return allocate(fd, 0, foot.fileSize, memory)
	}
	if err := allocate(fd, 0, foot.dataSize-int64(s.Sparse), memory); err != nil {
		return err
	}
	// This also makes the file as long as it is to be.
	return allocate(fd, foot.dataSize, foot.fileSize, memory)
}

// allocate puts memory behind the bytes of fd from off to end now. A page that
// cannot be had later would be a SIGBUS for whoever touches it; and fallocate on a
// memfd does not fail when memory runs out, it goes on until the OOM killer shoots
// somebody. So what is free is looked at first, and, since others take memory too,
// again with every step.
func allocate(fd int, off, end int64, memory bool) error {
	step, n := int64(maxStep), end-off
	for off < end {
		if memory && n >= unchecked {
			if free, by := sys.FreeMemory(); end-off > free {
				return fmt.Errorf("%w: %d more bytes of %d needed, %d free (%s)", ErrNoSpace, end-off, n, free, by)
			}
		}
		part := min(step, end-off)
		err := sys.Fallocate(fd, off, part)
		if errors.Is(err, unix.EINTR) {
			// A signal undid it. Less may be done before the next one.
			step = max(part/2, 1<<16)
			continue
		}
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EDQUOT) {
			return fmt.Errorf("%w for %d bytes: %w", ErrNoSpace, n, err)
		}
		if err != nil {
			return err
		}
		off += part
	}
	return nil
}

func isTmpfs(fd int) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(fd, &st) == nil && st.Type == unix.TMPFS_MAGIC
}
