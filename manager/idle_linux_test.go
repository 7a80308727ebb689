package manager_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/detector"
	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/process"
)

// A footprint is what a process takes.
type footprint struct {
	KiB, Threads, Goroutines, Descriptors int
	CPU                                   time.Duration
}

func (f footprint) minus(g footprint) footprint {
	return footprint{f.KiB - g.KiB, f.Threads - g.Threads, f.Goroutines - g.Goroutines, f.Descriptors - g.Descriptors, f.CPU - g.CPU}
}

func ownFootprint() (f footprint, err error) {
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return f, err
	}
	for line := range strings.Lines(string(status)) {
		fmt.Sscanf(line, "VmRSS: %d", &f.KiB)
		fmt.Sscanf(line, "Threads: %d", &f.Threads)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return f, err
	}
	f.Descriptors, f.Goroutines = len(fds), runtime.NumGoroutine()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		return f, err
	}
	f.CPU = time.Duration(used.Utime.Nano() + used.Stime.Nano())
	return f, nil
}

type measuredServer struct {
	Path string
	Ask  *pipe.Conn
}

// serveMeasured is a server that says what it takes whenever it is asked.
var serveMeasured = process.Register(func(ctx context.Context, j measuredServer) error {
	l, err := net.Listen("unix", j.Path)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- manager.Serve(l, manager.Options{}) }()
	for {
		var nothing int
		if j.Ask.Recv(&nothing) != nil {
			l.Close()
			<-done
			return nil
		}
		f, err := ownFootprint()
		if err != nil {
			return err
		}
		if err := j.Ask.Send(f); err != nil {
			return err
		}
	}
})

// A thousand clients that are connected and quiet cost a descriptor and a goroutine each, some memory, no thread and no CPU time. Over rings it is
// a little more memory.
func TestIdleClients(t *testing.T) {
	const clients = 1000
	raiseFiles(t, 4*clients)
	for _, noRings := range []bool{false, true} {
		t.Run(fmt.Sprintf("rings %v", !noRings), func(t *testing.T) {
			ours, theirs, err := pipe.New()
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(socketDir(t), "server")
			server := run(t, serveMeasured, measuredServer{path, theirs})
			defer join(t, server)
			defer ours.Close()
			ask := func() (f footprint) {
				if err := ours.Send(0); err != nil {
					t.Fatal(err)
				}
				if err := ours.Recv(&f); err != nil {
					t.Fatal(err)
				}
				return f
			}
			before := ask()
			ctx := testContext(t)
			for n := range clients {
				// Each has a connection of its own, because each has another limit, and has said something.
				m, err := manager.Connect(ctx, "unix", path, manager.Options{NoRings: noRings, MaxMessage: 1<<20 + n})
				if err != nil {
					t.Fatal(err)
				}
				defer m.Close()
				if _, err := m.Stats(ctx); err != nil {
					t.Fatal(err)
				}
			}
			with := ask()
			asked := ask()
			const interval = 500 * time.Millisecond
			<-time.After(interval) // what is measured is what happens while nothing does
			later := ask()
			took := with.minus(before)
			cpu := later.minus(asked).CPU - asked.minus(with).CPU // the asking itself takes some: it collects garbage
			t.Logf("%d idle clients: %d KiB of memory each, rings included, %d threads, %d goroutines and %d descriptors in all, %v of CPU time in %v",
				clients, took.KiB/clients, took.Threads, took.Goroutines, took.Descriptors, cpu, interval)
			if took.KiB > 64*clients && !detector.Enabled {
				t.Errorf("%d KiB of memory", took.KiB)
			}
			if took.Threads > 20 || took.Goroutines > clients+20 || took.Descriptors > clients+20 {
				t.Errorf("%+v", took)
			}
			if cpu > interval/2 {
				t.Errorf("%v of CPU time in %v of silence", cpu, interval)
			}
		})
	}
}
