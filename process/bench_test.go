//go:build linux

package process_test

import (
	"context"
	"os/exec"
	"testing"

	"github.com/go-multiproc/multiproc/process"
)

var nothing = process.Register(func(context.Context, struct{}) error { return nil })

// The plain equivalent is os/exec with the same binary, which exits as soon as it gets there.
func BenchmarkStartJoin(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		b.Setenv(bareMarker, "1")
		for b.Loop() {
			if err := exec.Command("/proc/self/exe").Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, m := range []process.Method{process.Spawn, process.Fork} {
		b.Run(m.String(), func(b *testing.B) {
			for b.Loop() {
				p := process.New(nothing, struct{}{})
				p.Method = m
				if err := p.Start(); err != nil {
					b.Fatal(err)
				}
				if err := p.Join(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
