package manager_test

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/detector"
	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/process"
)

type onCPU struct {
	Path string
	Out  *os.File
}

var serveOnCPU = process.Register(func(ctx context.Context, c onCPU) error {
	l, err := net.Listen("unix", c.Path)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	c.Out.Close() // it listens
	return manager.Serve(l, manager.Options{})
})

// compareOnCPU calls in slices, through rings and through the socket in turn, and tells how long a slice took by each, as the median, and of how many CPUs it knows.
var compareOnCPU = process.Register(func(ctx context.Context, c onCPU) error {
	const calls, turns = 200, 31
	var sides [2]*manager.Dict[string, int]
	for i := range sides {
		m, err := manager.Connect(ctx, "unix", c.Path, manager.Options{NoRings: i == 1})
		if err != nil {
			return err
		}
		defer m.Close()
		if sides[i], err = manager.NewDict[string, int](m); err != nil {
			return err
		}
	}
	var took [2][]time.Duration
	for turn := range turns {
		for i, d := range sides {
			began := time.Now()
			for n := range calls {
				if err := d.Set(ctx, "key", n); err != nil {
					return err
				}
			}
			if turn > 0 {
				took[i] = append(took[i], time.Since(began)/calls)
			}
		}
	}
	for i := range took {
		slices.Sort(took[i])
	}
	return json.NewEncoder(c.Out).Encode(onCPUFound{took[0][turns/2], took[1][turns/2], runtime.NumCPU()})
})

type onCPUFound struct {
	Rings, Socket time.Duration
	CPUs          int
}

// startOn starts a process that has these CPUs only.
func startOn(t *testing.T, cpus []int, p *process.Process) {
	t.Helper()
	runtime.LockOSThread() // the child gets this thread's
	defer runtime.UnlockOSThread()
	var all, some unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	for _, c := range cpus {
		some.Set(c)
	}
	if err := unix.SchedSetaffinity(0, &some); err != nil {
		t.Fatal(err)
	}
	err := p.Start()
	if err := unix.SchedSetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Kill(); p.Join(context.Background()) })
}

// busy returns which part of this machine's CPU time is used for so long.
func busy(t *testing.T, d time.Duration) float64 {
	read := func() (used, all float64) {
		b, err := os.ReadFile("/proc/stat")
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := strings.Cut(string(b), "\n")
		for i, f := range strings.Fields(line)[1:9] { // user nice system idle iowait irq softirq steal
			n, err := strconv.ParseFloat(f, 64)
			if err != nil {
				t.Fatal(err)
			}
			all += n
			if i != 3 && i != 4 {
				used += n
			}
		}
		return used, all
	}
	used, all := read()
	time.Sleep(d)
	used2, all2 := read()
	return (used2 - used) / max(all2-all, 1)
}

// Where client or server have one CPU, as in a container, or share it, rings are faster than the socket: they take a quarter of the time, and as long only if
// both sides sleep. Other work on the machine brings the two nearer to each other, so one good comparison of some is enough.
func TestRingsOnOneCPU(t *testing.T) {
	if detector.Enabled {
		t.Skip("compares times, which the race detector makes others")
	}
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		t.Fatal(err)
	}
	var cpus []int
	for c := range 64 * len(may) {
		if may.IsSet(c) {
			cpus = append(cpus, c)
		}
	}
	first, last := cpus[:1], cpus[len(cpus)-1:]
	for _, tt := range []struct {
		name           string
		server, client []int
	}{
		{"both on the same", first, first},
		{"each on its own", first, last},
		{"server on one", first, cpus},
		{"client on one", cpus, first},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := testContext(t)
			path := filepath.Join(t.TempDir(), "s")
			child := func(fn *process.Func[onCPU], cpus []int) (*os.File, *process.Process) {
				r, w, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { r.Close() })
				p := process.New(fn, onCPU{path, w})
				startOn(t, cpus, p)
				w.Close()
				return r, p
			}
			ready, server := child(serveOnCPU, tt.server)
			if n, err := ready.Read(make([]byte, 1)); n != 0 || !server.Alive() {
				t.Fatal(n, err)
			}
			const attempts, bar = 5, 0.85
			for n := range attempts {
				out, client := child(compareOnCPU, tt.client)
				var found onCPUFound
				if err := json.NewDecoder(out).Decode(&found); err != nil {
					t.Fatal(err, client.Join(ctx))
				}
				if found.CPUs != len(tt.client) {
					t.Fatalf("the client has %d CPUs, want %d", found.CPUs, len(tt.client))
				}
				t.Logf("rings %v, socket %v", found.Rings, found.Socket)
				if float64(found.Rings) < bar*float64(found.Socket) {
					return
				}
				if n == attempts-1 {
					if b := busy(t, 300*time.Millisecond); b > 0.1 { // neither side has anything to do
						t.Skipf("others use %.0f %% of this machine", 100*b)
					}
					t.Errorf("a call takes more than %v times as long through rings as over the socket", bar)
				}
			}
		})
	}
}
