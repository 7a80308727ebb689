package shm

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/go-multiproc/multiproc/internal/seg"
)

// These errors are returned when a segment is made or opened.
var (
	// ErrNoSpace is returned when there is not enough memory, or room in the
	// file system, for all of the segment.
	ErrNoSpace = seg.ErrNoSpace

	// ErrFormat is returned when a file is not a segment that this version of
	// the library can use: made by another program (see [OpenRaw]), cut short,
	// damaged, or of a newer format.
	ErrFormat = seg.ErrFormat

	// ErrType is returned when a segment holds something else than what it is
	// opened as: another kind of object, or elements of another type.
	ErrType = seg.ErrType
)

// Options say where named segments are. The zero value is the default.
type Options struct {
	// Dir is the directory of the files. "" is /dev/shm. Another one should be
	// on a tmpfs too: on a disk it works, and the kernel writes it back there.
	Dir string

	// Mode is the permissions of a segment that Create makes, whatever the
	// umask. 0 is 0600: only this user's processes can open it.
	Mode fs.FileMode

	// AnyOwner lets Open and OpenRaw accept a file that belongs to another
	// user, who can then change the contents at any time. Without it that is an
	// error that is fs.ErrPermission.
	AnyOwner bool
}

func options(opts []Options) seg.Options {
	if len(opts) == 0 {
		return seg.Options{}
	}
	return seg.Options(opts[0])
}

const kind = "segment"

// A Segment is this process's hold on a piece of shared memory. Its methods may
// be called by several goroutines at once; access to the bytes is not
// synchronised in any way.
//
// A *Segment can stand anywhere in the arguments of a child process and in what
// is sent through a pipe.
//
// The zero Segment can not be used: all its methods but Close panic.
type Segment struct{ h *seg.Handle }

// New makes an anonymous segment of size bytes, all zero. Pass it to a child
// process, or send it through a pipe, to share it. The error is ErrNoSpace if
// the memory is not there.
func New(size int) (*Segment, error) {
	if err := checkSize(size); err != nil {
		return nil, err
	}
	return wrap(seg.New(seg.Spec{Kind: kind, Data: size}))
}

// Create makes a named segment of size bytes, all zero. Nobody can see it before
// it is complete. If the name exists, the error is fs.ErrExist. A name is one
// plain file name of at most 250 bytes.
func Create(name string, size int, opts ...Options) (*Segment, error) {
	if err := checkSize(size); err != nil {
		return nil, err
	}
	return wrap(seg.Create(name, seg.Spec{Kind: kind, Data: size}, options(opts)))
}

// Open joins a segment that Create made, here or in another process. The error is
// fs.ErrNotExist if there is no such name, ErrType if it is another object's, such
// as a Mutex's, and ErrFormat if its file is no segment that this version can use.
func Open(name string, opts ...Options) (*Segment, error) {
	return wrap(seg.Open(name, kind, "", options(opts)))
}

// OpenOrCreate joins the named segment of size bytes, and makes it, all zero, if there is none:
// for programs that do not know which of them comes first. Those that come at the same time get
// the same one. The error is ErrType if the one that is there has another size; otherwise it is
// one of Open's, or of Create's.
func OpenOrCreate(name string, size int, opts ...Options) (*Segment, error) {
	if err := checkSize(size); err != nil {
		return nil, err
	}
	for {
		s, err := Open(name, opts...)
		if err == nil && s.Size() != size {
			err = &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("%w: it has %d bytes, not %d", ErrType, s.Size(), size)}
			s.Close()
			return nil, err
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return s, err
		}
		s, err = Create(name, size, opts...)
		if !errors.Is(err, fs.ErrExist) {
			return s, err
		}
		// Somebody was quicker; and may have removed it again by the time that we look.
	}
}

// OpenRaw maps a whole file that some other program made, for instance
// Python's multiprocessing.shared_memory.SharedMemory. Nothing protects this
// process from that program: if it makes the file shorter, an access behind the
// new end is a SIGBUS. Such a segment does not count as in use for Reap, which
// does not touch foreign files anyway.
func OpenRaw(name string, opts ...Options) (*Segment, error) {
	return wrap(seg.OpenRaw(name, options(opts)))
}

func checkSize(size int) error {
	if size <= 0 {
		return fmt.Errorf("shm: a segment of %d bytes: the size must be at least 1: %w", size, fs.ErrInvalid)
	}
	return nil
}

func wrap(h *seg.Handle, err error) (*Segment, error) {
	if err != nil {
		return nil, err
	}
	h.SetObject("shm", "Segment")
	return &Segment{h}, nil
}

// Bytes is the memory itself, Size bytes of it. It panics after Close. A slice
// that was taken before reads zeros after it.
//
// The slice does not keep s reachable, and a Segment that is unreachable closes
// itself. So s has to be kept as long as the slice is used: a deferred s.Close
// does that.
func (s *Segment) Bytes() []byte {
	h := s.use()
	if h.Closed() {
		panic("shm: use of closed Segment")
	}
	return h.DataForUser()
}

// use is the handle, of a Segment that was made.
func (s *Segment) use() *seg.Handle {
	if s.h == nil {
		panic("shm: use of a Segment that was not made by New, Create, Open, OpenOrCreate or OpenRaw")
	}
	return s.h
}

// Name is the name that the segment was created or opened with; "" if it is
// anonymous.
func (s *Segment) Name() string { return s.use().Name() }

// Size is the number of bytes.
func (s *Segment) Size() int { return len(s.use().Data()) }

// Close ends this handle. The memory is given back when it was the last handle
// of this process: slices of it read zeros then, and what is written to them
// reaches nobody. It returns nil. Calling it again does nothing.
func (s *Segment) Close() error {
	if s.h == nil {
		return nil
	}
	return s.h.Close(nil)
}

func init() {
	seg.FromSegment = func(s any) *seg.Handle { return s.(*Segment).use() }
}
