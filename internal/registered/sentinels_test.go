package registered_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/go-multiproc/multiproc/internal/registered"
)

// What an error is in one process, what is made of its keys is in another; and nothing else.
func TestSentinels(t *testing.T) {
	known := []error{
		context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, io.ErrShortBuffer, io.ErrShortWrite, io.ErrNoProgress,
		fs.ErrInvalid, fs.ErrPermission, fs.ErrExist, fs.ErrNotExist, fs.ErrClosed, os.ErrDeadlineExceeded, os.ErrProcessDone, os.ErrNoDeadline, errors.ErrUnsupported,
	}
	for _, err := range known {
		keys, errno := registered.Errors.Keys(fmt.Errorf("reading: %w", err))
		found := errors.Join(registered.Errors.Find(keys, errno)...)
		for _, other := range known {
			if errors.Is(found, other) != errors.Is(err, other) {
				t.Errorf("%v arrives as %v", err, found)
			}
		}
	}
	keys, errno := registered.Errors.Keys(&fs.PathError{Op: "open", Path: "x", Err: syscall.ENOENT})
	found := errors.Join(registered.Errors.Find(keys, errno)...)
	if !errors.Is(found, fs.ErrNotExist) || !errors.Is(found, syscall.ENOENT) || errors.Is(found, syscall.EPERM) {
		t.Errorf("ENOENT arrives as %v", found)
	}
	if keys, errno := registered.Errors.Keys(errors.New("EOF")); len(keys)+len(errno) > 0 {
		t.Errorf("a stranger with a known text: %q, %v", keys, errno)
	}
	if errs := registered.Errors.Find([]string{"1 nobody knows it", ""}, []byte{0x80}); len(errs) != 0 {
		t.Errorf("of what is not known: %v", errs)
	}
}

// Errors with the same text are told apart by their order; one that is added twice is one.
func TestSentinelsWithTheSameText(t *testing.T) {
	a, b := errors.New("same"), errors.New("same")
	registered.Errors.Add(a, b, a)
	for i, err := range []error{a, b} {
		keys, _ := registered.Errors.Keys(err)
		if want := fmt.Sprintf("%d same", i+1); len(keys) != 1 || keys[0] != want {
			t.Errorf("%q, want %q", keys, want)
		}
		if found := registered.Errors.Find(keys, nil); len(found) != 1 || found[0] != err {
			t.Errorf("number %d: %v", i, found)
		}
	}
}

type incomparable []string

func (e incomparable) Error() string { return strings.Join(e, ", ") }

// An error that is equal to none cannot be found again.
func TestSentinelThatCannotBeCompared(t *testing.T) {
	defer func() {
		if v, _ := recover().(string); !strings.Contains(v, "cannot be compared") || !strings.Contains(v, "incomparable") {
			t.Errorf("%q", v)
		}
	}()
	registered.Errors.Add(incomparable{"a", "b"})
	t.Error("no panic")
}
