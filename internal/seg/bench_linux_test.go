package seg_test

import (
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/reexec"
)

// BenchmarkAlive asks whether an owner is alive, beside what a program without
// tokens would ask.
func BenchmarkAlive(b *testing.B) {
	dir, h := named(b)
	p := reexec.Start(b, "token", nil, dir, "s")
	token, err := strconv.ParseUint(p.Line(), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	m := h.Mapping()
	b.Run("token", func(b *testing.B) {
		for b.Loop() {
			if !m.Alive(token) {
				b.Fatal("dead")
			}
		}
	})
	b.Run("dead-token", func(b *testing.B) {
		for b.Loop() {
			if m.Alive(token + 1000) {
				b.Fatal("alive")
			}
		}
	})
	b.Run("kill-0", func(b *testing.B) {
		for b.Loop() {
			if err := syscall.Kill(p.Cmd.Process.Pid, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("getppid", func(b *testing.B) { // the least that a system call costs
		for b.Loop() {
			unix.Getppid()
		}
	})
}
