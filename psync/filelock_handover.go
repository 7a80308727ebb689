package psync

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/go-multiproc/multiproc/internal/guard"
	"github.com/go-multiproc/multiproc/internal/handover"
)

// HandOver describes the FileLock to another process: it crosses as the file's
// absolute path, and whoever receives it opens the file for itself. Packages
// process and pipe call it.
func (l *FileLock) HandOver(e *handover.Encoder) error {
	if err := l.usable("hand over"); err != nil {
		return err
	}
	return e.Put(l.path)
}

// TakeOver makes the zero FileLock one of the file that another process handed
// over. The file is opened by Lock and not yet. Packages process and pipe call
// it.
func (l *FileLock) TakeOver(d *handover.Decoder) error {
	var path string
	if err := d.Get(&path); err != nil {
		return err
	}
	if err := checkPath(path); err != nil {
		return err
	}
	l.path, l.closed = path, make(chan struct{})
	return nil
}

// checkPath checks what arrived as the path of a lock.
func checkPath(path string) error {
	if !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
		return fmt.Errorf("psync: %q is not the absolute path of a lock", path)
	}
	return nil
}

// A FileLock can guard other objects, and those who open one by name find it by
// its path.
func init() {
	guard.Register(guard.Class{
		Name: "file",
		Is:   func(l guard.Locker) bool { _, ok := l.(*FileLock); return ok },
		Text: func(l guard.Locker) string { return l.(*FileLock).path },
		Open: func(path string) (guard.Locker, error) {
			if err := checkPath(path); err != nil {
				return nil, err
			}
			return NewFileLock(path)
		},
		New: func() guard.Locker { return new(FileLock) },
	})
	guard.Register(guard.Class{
		Name: "mutex",
		Is:   func(l guard.Locker) bool { _, ok := l.(*Mutex); return ok },
		Text: func(l guard.Locker) string { return l.(*Mutex).identity() },
		Same: func(l guard.Locker, text string) bool { return l.(*Mutex).identity() == text },
		New:  func() guard.Locker { return new(Mutex) },
	})
}

// identity tells the lock apart from every other, in every process.
func (m *Mutex) identity() string {
	return fmt.Sprintf("%x+%d", m.use().Handle().ID(), m.l.Offset())
}
