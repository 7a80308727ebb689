//go:build !linux

package process

import "os"

// blocking returns a file to be a child's standard input or output, which programs expect to block. As with os/exec, the parent's
// copy becomes blocking too.
func blocking(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	if err := raw.Control(func(uintptr) {}); err != nil {
		return nil, closedFile(err)
	}
	f.Fd()
	return f, nil
}
