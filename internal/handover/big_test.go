package handover_test

import (
	"runtime"
	"runtime/metrics"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-multiproc/multiproc/internal/handover"
)

// peakHeap returns by how much the live heap grew at most while f ran, as collections saw it.
func peakHeap(f func()) uint64 {
	const live = "/gc/heap/live:bytes"
	runtime.GC()
	sample := []metrics.Sample{{Name: live}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	var peak atomic.Uint64
	var done atomic.Bool
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		sample := []metrics.Sample{{Name: live}}
		for !done.Load() {
			runtime.GC()
			metrics.Read(sample)
			peak.Store(max(peak.Load(), sample[0].Value.Uint64()))
		}
	}()
	f()
	done.Store(true)
	<-stopped
	return peak.Load() - min(before, peak.Load())
}

func TestHundredMegabytes(t *testing.T) {
	const size = 100 << 20
	line := strings.Repeat("x", 96)
	text := make([]string, size/len(line))
	for i := range text {
		text[i] = line
	}
	blob := make([]byte, size)
	for _, c := range []struct {
		name string
		v    withHandle
	}{
		{"lines", withHandle{Count: &cell[int]{1}, Lines: text}},
		{"bytes", withHandle{Count: &cell[int]{1}, Blob: blob}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m *handover.Message
			var err error
			if peak := peakHeap(func() { m, err = handover.Marshal(c.v, "v") }); peak > 5*size/2 {
				t.Errorf("Marshal held %d MB", peak>>20)
			} else {
				t.Logf("Marshal held %d MB", peak>>20)
			}
			if err != nil {
				t.Fatal(err)
			}
			var out withHandle
			if peak := peakHeap(func() { _, err = handover.Unmarshal(m.Data, nil, &out) }); peak > 2*size {
				t.Errorf("Unmarshal held %d MB", peak>>20)
			} else {
				t.Logf("Unmarshal held %d MB", peak>>20)
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(out.Lines) != len(c.v.Lines) || len(out.Blob) != len(c.v.Blob) || out.Count.v != 1 {
				t.Error("something is lost")
			}
		})
	}
}
