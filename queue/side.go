//go:build !multiproc_explore

package queue

import (
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// A sideLock is the lock of the producers, or of the consumers. To the explorer it is a small
// robust lock, since lock.Mutex, which package lock explores, has too many states of its own.
type sideLock = lock.Mutex

func sideAt(h *seg.Handle, off int) *sideLock { return lock.At(h, off) }
