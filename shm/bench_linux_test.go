package shm_test

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/shm"
)

// BenchmarkNew compares a segment with the system calls that memory to share
// takes at least: a memfd of two pages, filled and mapped.
func BenchmarkNew(b *testing.B) {
	b.Run("Segment", func(b *testing.B) {
		for b.Loop() {
			s, err := shm.New(4096)
			if err != nil {
				b.Fatal(err)
			}
			s.Close()
		}
	})
	b.Run("memfd", func(b *testing.B) {
		for b.Loop() {
			fd, err := unix.MemfdCreate("bench", unix.MFD_CLOEXEC)
			if err != nil {
				b.Fatal(err)
			}
			mapAndClose(b, fd, true)
		}
	})
}

// BenchmarkOpen compares joining a named segment, as a process that has it not yet
// does, with opening and mapping a file.
func BenchmarkOpen(b *testing.B) {
	dir := tmpfs(b)
	o := shm.Options{Dir: dir}
	s, err := shm.Create("s", 4096, o)
	if err != nil {
		b.Fatal(err)
	}
	s.Close()
	b.Run("Segment", func(b *testing.B) {
		for b.Loop() {
			s, err := shm.Open("s", o)
			if err != nil {
				b.Fatal(err)
			}
			s.Close()
		}
	})
	b.Run("file", func(b *testing.B) {
		path := filepath.Join(dir, "s")
		for b.Loop() {
			fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err != nil {
				b.Fatal(err)
			}
			mapAndClose(b, fd, false)
		}
	})
}

func mapAndClose(b *testing.B, fd int, fill bool) {
	defer unix.Close(fd)
	if fill {
		if err := unix.Fallocate(fd, 0, 0, 8192); err != nil {
			b.Fatal(err)
		}
	}
	m, err := unix.Mmap(fd, 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		b.Fatal(err)
	}
	unix.Munmap(m)
}
