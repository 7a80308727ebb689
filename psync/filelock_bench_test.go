package psync_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/go-multiproc/multiproc/psync"
)

func BenchmarkFileLock(b *testing.B) {
	path := filepath.Join(b.TempDir(), "lock")
	b.Run("FileLock", func(b *testing.B) {
		l, err := psync.NewFileLock(path)
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		for b.Loop() {
			if err := l.Lock(background); err != nil {
				b.Fatal(err)
			}
			if err := l.Unlock(); err != nil {
				b.Fatal(err)
			}
		}
	})
	// The bare system calls, with the file opened for each hold as well.
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			fd, err := syscall.Open(path, os.O_RDONLY|syscall.O_CLOEXEC, 0)
			if err != nil {
				b.Fatal(err)
			}
			if err := syscall.Flock(fd, syscall.LOCK_EX); err != nil {
				b.Fatal(err)
			}
			syscall.Flock(fd, syscall.LOCK_UN)
			syscall.Close(fd)
		}
	})
	b.Run("handed over between goroutines", func(b *testing.B) {
		l, err := psync.NewFileLock(path)
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := l.Lock(background); err != nil {
					b.Error(err)
				}
				if err := l.Unlock(); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
