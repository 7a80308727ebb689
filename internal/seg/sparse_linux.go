package seg

import (
	"github.com/go-multiproc/multiproc/internal/sys"
)

// Allocate puts memory behind n bytes at off of the file: a sparse part of the data,
// in whole pages. The error is ErrNoSpace, or ErrClosed when the last handle is
// closed meanwhile.
func (m *Mapping) Allocate(off, n int) error {
	m.fdMu.RLock()
	defer m.fdMu.RUnlock()
	if m.fd < 0 {
		return ErrClosed
	}
	return allocate(m.fd, int64(off), int64(off)+int64(n), isTmpfs(m.fd))
}

// Free takes the memory away again. The content is zeros then. (Sealing the size of
// a memfd does not forbid that; sealing it against writing would.)
func (m *Mapping) Free(off, n int) {
	m.fdMu.RLock()
	defer m.fdMu.RUnlock()
	if m.fd < 0 {
		return
	}
	// What a file system without holes can not give back, it keeps.
	_ = sys.PunchHole(m.fd, int64(off), int64(n))
}
