package seg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/sys"
)

// Remove deletes the name of a segment of the kind. An empty kind takes every
// regular file, a foreign one too. Who has it open keeps it.
func Remove(name, kind string, o Options) error {
	if kind == "" {
		return RemoveAny(name, nil, o)
	}
	return RemoveAny(name, []string{kind}, o)
}

// RemoveAny is Remove for a segment of one of the kinds; without any, for every
// regular file.
func RemoveAny(name string, kinds []string, o Options) error {
	path, err := o.path("remove", name)
	if err != nil {
		return err
	}
	fail := func(err error) error { return &fs.PathError{Op: "remove", Path: path, Err: err} }
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return fail(err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fail(fmt.Errorf("%w: it is not a regular file", ErrFormat))
	}
	if len(kinds) > 0 {
		fd, st, err := openFile(path, o)
		if err != nil {
			return fail(err)
		}
		foot, err := readFooter(fd, st.Size)
		unix.Close(fd)
		if err != nil {
			return fail(err)
		}
		if !slices.Contains(kinds, foot.kind) {
			return fail(fmt.Errorf("%w: it is a %s, not a %s", ErrType, foot.what(), strings.Join(kinds, " or a ")))
		}
	}
	if err := unix.Unlink(path); err != nil {
		return fail(err)
	}
	return nil
}

// List describes the named segments in the directory that this user may open.
// Other files are passed over.
func List(o Options) ([]Info, error) {
	var all []Info
	err := eachFile(o, func(fd int, in Info) {
		if in.Kind == "" {
			return
		}
		locked, err := sys.RangeLocked(fd, lifeStart, lifeRange)
		in.InUse = locked || err != nil
		all = append(all, in)
	})
	return all, err
}

// Stat describes one named segment.
func Stat(name string, o Options) (Info, error) {
	path, err := o.path("inspect", name)
	if err != nil {
		return Info{}, err
	}
	fd, st, err := openFile(path, o)
	if err != nil {
		return Info{}, &fs.PathError{Op: "inspect", Path: path, Err: err}
	}
	defer unix.Close(fd)
	foot, err := readFooter(fd, st.Size)
	if err != nil {
		return Info{}, &fs.PathError{Op: "inspect", Path: path, Err: err}
	}
	in := describe(name, path, foot, st)
	locked, err := sys.RangeLocked(fd, lifeStart, lifeRange)
	in.InUse = locked || err != nil
	return in, nil
}

func describe(name, path string, foot *footer, st *unix.Stat_t) Info {
	return Info{
		Name: name, Path: path, Kind: foot.kind, Type: foot.typeText(), Count: int(foot.count),
		Size: int(foot.dataSize), Bytes: int(min(st.Blocks*512, foot.fileSize)), Mode: fs.FileMode(st.Mode).Perm(),
		UID: int(st.Uid), PID: int(foot.pid), Created: time.Unix(0, foot.created),
	}
}

// File tells which file the segment is, as stat(2) does. Both are 0 when it was closed meanwhile.
func (h *Handle) File() (id struct{ Dev, Ino uint64 }) {
	m := h.m
	m.fdMu.RLock()
	defer m.fdMu.RUnlock()
	var st unix.Stat_t
	if m.fd >= 0 && unix.Fstat(m.fd, &st) == nil {
		id.Dev, id.Ino = st.Dev, st.Ino
	}
	return id
}

// Reap removes the named segments that no process has open, and returns them.
//
// The lock over the whole range of tokens proves that nobody has the segment
// open, and keeps everybody from opening it (see open) until it is unlinked.
func Reap(o Options) ([]Info, error) {
	var removed []Info
	var errs []error
	err := eachFile(o, func(fd int, in Info) {
		if in.Kind == "" { // if its maker died over it, see unnamedFile
			if free, err := sys.TryLockRange(fd, unfinished, 1); err == nil && free && isAt(fd, in.Path) {
				_ = unix.Unlink(in.Path)
			}
			return
		}
		free, err := sys.TryLockRange(fd, lifeStart, lifeRange)
		if err != nil || !free {
			return
		}
		// Between the opening and the lock, the name may have gone to another.
		if !isAt(fd, in.Path) {
			return
		}
		if err := unix.Unlink(in.Path); err != nil {
			errs = append(errs, &fs.PathError{Op: "remove", Path: in.Path, Err: err})
			return
		}
		removed = append(removed, in)
	})
	return removed, errors.Join(append(errs, err)...)
}

// eachFile calls f with each file in the directory that is a segment, and with
// an empty Kind for each that is to become one.
func eachFile(o Options, f func(fd int, in Info)) error {
	entries, err := os.ReadDir(o.dir())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(o.dir(), e.Name())
		fd, st, err := openFile(path, o)
		if err != nil {
			continue
		}
		if strings.HasPrefix(e.Name(), tempNames) {
			f(fd, Info{Path: path}) // whatever it has of its footer by now
		} else if foot, err := readFooter(fd, st.Size); err == nil {
			f(fd, describe(e.Name(), path, foot, st))
		}
		unix.Close(fd)
	}
	return nil
}
