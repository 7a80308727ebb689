//go:build !linux

package journal

import "os"

// allocate makes the bytes [off, off+n) of a file have space on the disk.
func allocate(f *os.File, off, n int64) error { return fill(f, off, n) }
