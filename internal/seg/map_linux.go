package seg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/edsrzf/mmap-go"
	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/sys"
)

// The kernel looks at 32 bits of the 64-bit words that processes wait for, the low
// half first, and the numbers in a segment are not turned around.
var errBigEndian error = &also{"shm: needs a little-endian machine", errors.ErrUnsupported}

// mapFile maps the first n bytes of fd, shared.
func mapFile(fd int, n int64) (mmap.MMap, error) {
	// mmap-go wants an *os.File, which would close fd when it is collected: it
	// gets a duplicate. (A dup of the description that is mapped is harmless:
	// it is not the one that holds the token.)
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	f := os.NewFile(uintptr(dup), "segment")
	defer f.Close()
	mm, err := mmap.MapRegion(f, int(n), mmap.RDWR, 0, 0)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return mm, nil
}

// newMapping maps fd, whose footer is foot, and takes a token. It leaves fd open.
func newMapping(fd int, foot *footer) (*Mapping, error) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		return nil, errBigEndian
	}
	life, err := sys.Reopen(fd)
	if err != nil {
		return nil, fmt.Errorf("shm: a segment needs a description of its own, by way of /proc: %w", err)
	}
	mm, err := mapFile(fd, foot.fileSize)
	if err != nil {
		unix.Close(life)
		return nil, err
	}
	m := &Mapping{foot: foot, key: regKey{id: foot.id}, mm: mm, all: mm, fd: life}
	if err := m.attach(); err != nil {
		_ = mm.Unmap()
		unix.Close(life)
		return nil, err
	}
	return m, nil
}

// discard undoes newMapping before anybody saw m.
func (m *Mapping) discard() {
	_ = m.mm.Unmap()
	unix.Close(m.fd)
}

// teardown gives the memory back at once and ends the token's lock. The
// addresses stay valid, now over zero pages, until nobody can use them.
func (m *Mapping) teardown() {
	if err := sys.MapZero(m.all); err != nil {
		// There is no room for the zero pages: the memory stays. Then whoever uses
		// it still by mistake is no dead process, and the token must go on.
		return
	}
	m.fdMu.Lock()
	defer m.fdMu.Unlock()
	unix.Close(m.fd)
	m.fd = -1
}

// secondView maps the n bytes at off once more, and keeps the token's lock until
// it is unmapped. It returns nil when the kernel has no room for it; what the
// caller meant to do there is then left undone.
func (m *Mapping) secondView(off, n int) (view []byte, unmap func()) {
	page := os.Getpagesize()
	start := off / page * page
	b, err := unix.Mmap(m.fd, int64(start), off-start+n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil
	}
	return b[off-start:], func() { _ = unix.Munmap(b) }
}

func (m *Mapping) reopen() (int, error) {
	m.fdMu.RLock()
	defer m.fdMu.RUnlock()
	if m.fd < 0 {
		return -1, ErrClosed
	}
	if !m.raw {
		return sys.Reopen(m.fd)
	}
	fd, err := unix.FcntlInt(uintptr(m.fd), unix.F_DUPFD_CLOEXEC, 0)
	return fd, os.NewSyscallError("dup", err)
}
