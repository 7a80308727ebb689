//go:build linux

package process_test

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/process"
)

// What a child costs that was executed in advance, beside one that is executed for its job: from stock, when one is ready and nothing else
// goes on, and back to back, when each start has to make good for the one before. The three alternate, so that what else the
// machine does hits all alike.
func BenchmarkForkServerRatio(b *testing.B) {
	const burst = 8
	process.SetForkServer(process.ForkServerOptions{Warm: burst})
	b.Cleanup(func() { process.SetForkServer(process.ForkServerOptions{}) })
	var bare, spawn, stock, row []time.Duration
	env := append(os.Environ(), bareMarker+"=1")
	for b.Loop() {
		t := time.Now()
		startBare(b, env)
		bare = append(bare, time.Since(t))

		t = time.Now()
		for range burst {
			startJoin(b, process.Spawn)
		}
		spawn = append(spawn, time.Since(t)/burst)

		if err := process.WarmUp(b.Context()); err != nil {
			b.Fatal(err)
		}
		t = time.Now()
		startJoin(b, process.ForkServer)
		stock = append(stock, time.Since(t))

		if err := process.WarmUp(b.Context()); err != nil {
			b.Fatal(err)
		}
		for range burst {
			startJoin(b, process.ForkServer)
		}
		t = time.Now()
		for range burst {
			startJoin(b, process.ForkServer)
		}
		row = append(row, time.Since(t)/burst)
	}
	median := func(ds []time.Duration) float64 {
		slices.Sort(ds)
		return float64(ds[len(ds)/2].Microseconds())
	}
	b.ReportMetric(median(bare), "bare-µs")
	b.ReportMetric(median(spawn), "spawn-µs")
	b.ReportMetric(median(stock), "stock-µs")
	b.ReportMetric(median(row), "row-µs")
	b.ReportMetric(median(stock)/median(spawn), "stock×spawn")
	b.ReportMetric(median(row)/median(spawn), "row×spawn")
}
