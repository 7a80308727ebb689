package registered

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"sync"
	"syscall"
)

// A Sentinels knows errors that programs compare with, so that they are found again in an error that has come from another
// process: by their text, and their place among those with the same text.
type Sentinels struct {
	mu    sync.Mutex
	all   []error
	keys  []string         // of the first of them: they are made when they are first needed, not when the program begins
	byKey map[string]error // by these
}

// Errors are those that all packages share. The standard library's are known from the start.
var Errors = func() *Sentinels {
	return &Sentinels{all: []error{
		context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, io.ErrShortBuffer, io.ErrShortWrite, io.ErrNoProgress,
		fs.ErrInvalid, fs.ErrPermission, fs.ErrExist, fs.ErrNotExist, fs.ErrClosed, os.ErrDeadlineExceeded, os.ErrProcessDone, os.ErrNoDeadline, errors.ErrUnsupported,
	}}
}()

// Add makes errors known that are not. It panics for one that is equal to none, not to itself either: nobody could find it again.
func (s *Sentinels) Add(errs ...error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, err := range errs {
		if !reflect.ValueOf(err).Comparable() {
			panic(fmt.Sprintf("multiproc: RegisterError: a %T cannot be compared, so that errors.Is would never find it; use a pointer", err))
		}
		if !slices.Contains(s.all, err) { // else another package has brought it
			s.all = append(s.all, err)
		}
	}
}

// indexLocked makes the keys that are missing.
func (s *Sentinels) indexLocked() {
	if s.byKey == nil {
		s.byKey = make(map[string]error, len(s.all))
	}
	for _, err := range s.all[len(s.keys):] {
		for k := 1; ; k++ {
			key := fmt.Sprintf("%d %s", k, err.Error())
			if _, ok := s.byKey[key]; !ok {
				s.byKey[key] = err
				s.keys = append(s.keys, key)
				break
			}
		}
	}
}

// Keys says which errors err is, in words that Find understands in another process, and which error of the system.
func (s *Sentinels) Keys(err error) (keys []string, errno []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.indexLocked()
	for i, known := range s.all {
		if errors.Is(err, known) {
			keys = append(keys, s.keys[i])
		}
	}
	var e syscall.Errno
	if errors.As(err, &e) {
		errno = binary.AppendUvarint(nil, uint64(e))
	}
	return keys, errno
}

// Find returns the errors that Keys has described, as far as they are known here.
func (s *Sentinels) Find(keys []string, errno []byte) (errs []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.indexLocked()
	for _, key := range keys {
		if err, ok := s.byKey[key]; ok {
			errs = append(errs, err)
		}
	}
	if e, n := binary.Uvarint(errno); n > 0 {
		errs = append(errs, syscall.Errno(e))
	}
	return errs
}
