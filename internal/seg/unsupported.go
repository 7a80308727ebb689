//go:build !linux

package seg

import (
	"errors"
	"fmt"
)

// What segments are made of is Linux's: memfds with seals, and file locks that
// belong to an open file description.
var errUnsupported = fmt.Errorf("shm: needs Linux's memfd and open file description locks: %w", errors.ErrUnsupported)

// New returns errors.ErrUnsupported.
func New(Spec) (*Handle, error) { return nil, errUnsupported }

// Create returns errors.ErrUnsupported.
func Create(string, Spec, Options) (*Handle, error) { return nil, errUnsupported }

// Open returns errors.ErrUnsupported.
func Open(name, kind, typ string, o Options) (*Handle, error) { return nil, errUnsupported }

// OpenRaw returns errors.ErrUnsupported.
func OpenRaw(string, Options) (*Handle, error) { return nil, errUnsupported }

// Attach returns errors.ErrUnsupported.
func Attach(fd int, name, kind, typ string, raw bool) (*Handle, error) { return nil, errUnsupported }

// Remove returns errors.ErrUnsupported.
func Remove(name, kind string, o Options) error { return errUnsupported }

// RemoveAny returns errors.ErrUnsupported.
func RemoveAny(name string, kinds []string, o Options) error { return errUnsupported }

// List returns errors.ErrUnsupported.
func List(Options) ([]Info, error) { return nil, errUnsupported }

// Reap returns errors.ErrUnsupported.
func Reap(Options) ([]Info, error) { return nil, errUnsupported }

// Alive returns true: nobody can be robbed here.
func (m *Mapping) Alive(uint64) bool { return true }

func (m *Mapping) teardown() {}

func (m *Mapping) secondView(off, n int) ([]byte, func()) { return nil, nil }

func (m *Mapping) reopen() (int, error) { return -1, errUnsupported }

// Stat returns errors.ErrUnsupported.
func Stat(name string, o Options) (Info, error) { return Info{}, errUnsupported }

// File returns zeros.
func (h *Handle) File() (id struct{ Dev, Ino uint64 }) { return id }

// Allocate returns errors.ErrUnsupported.
func (m *Mapping) Allocate(off, n int) error { return errUnsupported }

// Free does nothing.
func (m *Mapping) Free(off, n int) {}
