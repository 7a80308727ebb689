//go:build linux

package process_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/process"
)

var nothing = process.Register(func(context.Context, struct{}) error { return nil })

// startBare is the plain equivalent: os/exec with the same binary, which exits as soon as it gets to TestMain.
func startBare(b *testing.B, env []string) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = env
	if err := cmd.Run(); err != nil {
		b.Fatal(err)
	}
}

func startJoin(b *testing.B, m process.Method) {
	p := process.New(nothing, struct{}{})
	p.Method = m
	if err := p.Start(); err != nil {
		b.Fatal(err)
	}
	if err := p.Join(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkStartJoin(b *testing.B) {
	bare := append(os.Environ(), bareMarker+"=1")
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			startBare(b, bare)
		}
	})
	for _, m := range []process.Method{process.Spawn, process.Fork} {
		b.Run(m.String(), func(b *testing.B) {
			for b.Loop() {
				startJoin(b, m)
			}
		})
	}
}

// BenchmarkStartJoinRatio does both in turn, so that what else the machine does hits both alike, and compares the medians.
func BenchmarkStartJoinRatio(b *testing.B) {
	bare := append(os.Environ(), bareMarker+"=1")
	var bares, spawns []time.Duration
	for b.Loop() {
		t := time.Now()
		startBare(b, bare)
		bares = append(bares, time.Since(t))
		t = time.Now()
		startJoin(b, process.Spawn)
		spawns = append(spawns, time.Since(t))
	}
	slices.Sort(bares)
	slices.Sort(spawns)
	b.ReportMetric(float64(spawns[len(spawns)/2])/float64(bares[len(bares)/2]), "×bare")
	b.ReportMetric(float64(bares[len(bares)/2].Microseconds()), "bare-µs")
	b.ReportMetric(float64(spawns[len(spawns)/2].Microseconds()), "spawn-µs")
}

// How long a megabyte of arguments takes on its way, beyond the start.
func BenchmarkArguments(b *testing.B) {
	for _, size := range []int{0, 1 << 20, 16 << 20} {
		b.Run(fmt.Sprintf("%dMiB", size>>20), func(b *testing.B) {
			b.SetBytes(int64(size))
			data := make([]byte, size)
			for b.Loop() {
				p := process.New(takesBytes, data)
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

var takesBytes = process.Register(func(context.Context, []byte) error { return nil })
