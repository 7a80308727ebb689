//go:build linux

package process_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/go-multiproc/multiproc/process"
)

// A way is a method, and for ForkServer whether there are children ready.
type way struct {
	name   string
	method process.Method
	cold   bool
}

var ways = []way{
	{"spawn", process.Spawn, false},
	{"fork", process.Fork, false},
	{"forkserver", process.ForkServer, false},
	{"forkserver from cold", process.ForkServer, true},
}

// currentWay is the one that the test runs under.
var currentWay = ways[0]

// wayMarker tells a program of mains which way to go.
const wayMarker = "PROCESS_TEST_WAY"

// eachWay runs a test with each method as the default.
func eachWay(t *testing.T, test func(t *testing.T)) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Cleanup(func() {
				process.DropReady()
				currentWay = ways[0]
				mustSet(t, currentWay.method)
			})
			currentWay = w
			if err := w.prepare(within(t)); err != nil {
				t.Fatal(err)
			}
			test(t)
		})
	}
}

func mustSet(t testing.TB, m process.Method) {
	if err := process.ForceStartMethod(m); err != nil {
		t.Error(err)
	}
}

func (w way) prepare(ctx context.Context) error {
	process.SetForkServer(process.ForkServerOptions{Warm: -1})
	if w.method == process.ForkServer && !w.cold {
		process.SetForkServer(process.ForkServerOptions{Warm: 3})
	}
	if err := process.ForceStartMethod(w.method); err != nil || w.method != process.ForkServer {
		return err
	}
	return process.WarmUp(ctx)
}

// takeWay is for the programs that tests start.
func takeWay(ctx context.Context) {
	for _, w := range ways {
		if w.name == os.Getenv(wayMarker) {
			if err := w.prepare(ctx); err != nil {
				fmt.Println(err)
			}
		}
	}
}

// needsInitialisation skips a test that changes the child before its packages are initialised.
func needsInitialisation(t *testing.T) {
	if currentWay.method == process.ForkServer {
		t.Skip("such a child is initialised before it gets its job")
	}
}

// settleWarm waits until as many children are ready as there are to be, so that what this process has of them can be counted.
func settleWarm(t testing.TB) {
	t.Helper()
	if currentWay.method == process.ForkServer {
		if err := process.WarmUp(within(t)); err != nil {
			t.Fatal(err)
		}
	}
}
