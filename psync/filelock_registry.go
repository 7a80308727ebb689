package psync

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"syscall"
)

// fileLocks has the files that this process holds, waits for, or tries to lock.
var fileLocks = fileRegistry{
	files: map[fileID]*lockedFile{},
	holds: map[string][]*fileHold{},
}

// A fileRegistry finds the one lockedFile of a file, whatever the path, and the
// holds that an Unlock can end.
type fileRegistry struct {
	mu    sync.Mutex
	files map[fileID]*lockedFile
	holds map[string][]*fileHold // by the path they were taken through
}

// A fileHold is one or more holds of one kind, taken through one FileLock. It
// keeps its lockedFile entered once for each.
type fileHold struct {
	l    *FileLock
	file *lockedFile
	mode flockMode
	n    int
}

// enter finds the file at path, which it makes if it is missing. The caller must
// leave it.
func (r *fileRegistry) enter(path string) (*lockedFile, error) {
	id, err := identify(path)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.files[id]
	if f == nil {
		f = &lockedFile{id: id}
		r.files[id] = f
	}
	f.refs++
	return f, nil
}

// again enters a file that the caller is in.
func (r *fileRegistry) again(f *lockedFile) {
	r.mu.Lock()
	f.refs++
	r.mu.Unlock()
}

func (r *fileRegistry) leave(f *lockedFile) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.refs--; f.refs == 0 {
		delete(r.files, f.id)
	}
}

// addHold writes down that l has f. It enters f once more.
func (r *fileRegistry) addHold(l *FileLock, f *lockedFile, m flockMode) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.refs++
	for _, h := range r.holds[l.path] {
		if h.l == l && h.file == f && h.mode == m {
			h.n++
			return
		}
	}
	r.holds[l.path] = append(r.holds[l.path], &fileHold{l, f, m, 1})
}

// takeHold strikes out a hold that l may end: its own, or one of the same path,
// or one of the same file. The caller releases the file and leaves it once.
func (r *fileRegistry) takeHold(l *FileLock, m flockMode) *fileHold {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found *fileHold
	for _, h := range r.holds[l.path] {
		if h.mode == m && (found == nil || h.l == l) {
			found = h
		}
	}
	if found == nil {
		found = r.holdOfFileLocked(l.path, m)
	}
	if found == nil {
		return nil
	}
	if found.n--; found.n == 0 {
		path := found.l.path
		r.holds[path] = slices.DeleteFunc(r.holds[path], func(h *fileHold) bool { return h == found })
		if len(r.holds[path]) == 0 {
			delete(r.holds, path)
		}
	}
	return found
}

// holdOfFileLocked finds a hold of the file at path that was taken through
// another path to it.
func (r *fileRegistry) holdOfFileLocked(path string, m flockMode) *fileHold {
	id, err := statID(path)
	if err != nil {
		return nil
	}
	for _, holds := range r.holds {
		for _, h := range holds {
			if h.mode == m && h.file.id == id {
				return h
			}
		}
	}
	return nil
}

func (r *fileRegistry) heldThrough(l *FileLock) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.holds[l.path], func(h *fileHold) bool { return h.l == l })
}

// identify says which file is at path. It makes a missing one.
//
// O_CREAT is used for a missing file only: with the sysctl fs.protected_regular,
// it makes opening another user's file in /tmp an error.
func identify(path string) (fileID, error) {
	id, err := statID(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fileID{}, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return fileID{}, err
	}
	return idOf(fi), nil
}

// statID says which file is at path. What is not a regular file is refused
// before anything opens it: opening a FIFO would wait, a device may do anything.
func statID(path string) (fileID, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return fileID{}, err
	}
	if fi.IsDir() {
		return fileID{}, &fs.PathError{Op: "lock", Path: path, Err: syscall.EISDIR}
	}
	if !fi.Mode().IsRegular() {
		return fileID{}, &fs.PathError{Op: "lock", Path: path, Err: errNotRegular}
	}
	return idOf(fi), nil
}

var errNotRegular = errors.New("it is not a regular file")

// probeFile finds the errors that Lock would find.
func probeFile(path string) error {
	if _, err := identify(path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}
