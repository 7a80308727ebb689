//go:build linux

package process_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/detector"
	"github.com/go-multiproc/multiproc/process"
)

// manyMarker has TestManyChildren take the time for thousands of children.
const manyMarker = "PROCESS_TEST_MANY"

// Many children, one after the other and all at once, leave nothing behind: not a descriptor, a goroutine, a zombie or a
// mapping, and no memory that grows.
func TestManyChildren(t *testing.T) { eachWay(t, testManyChildren) }

func testManyChildren(t *testing.T) {
	sequential, simultaneous := "200", "40"
	if detector.Enabled {
		sequential, simultaneous = "50", "20"
	}
	if os.Getenv(manyMarker) != "" {
		sequential, simultaneous = "2000", "200"
	}
	cmd := program(t, "many", sequential, simultaneous)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// holdings are what a process has of the system.
type holdings struct {
	descriptors, goroutines, children, zombies int
	files, anonymous                           int // mappings
	memory                                     int // anonymous, in kilobytes
}

func takeStock() (h holdings, err error) {
	debug.FreeOSMemory()
	h.descriptors, h.goroutines = openDescriptors(), runtime.NumGoroutine()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return h, err
	}
	for line := range bytes.Lines(maps) {
		if bytes.Contains(line, []byte(" /")) {
			h.files++
		} else {
			h.anonymous++
		}
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return h, err
	}
	_, rss, _ := strings.Cut(string(status), "\nRssAnon:")
	if _, err := fmt.Sscan(rss, &h.memory); err != nil {
		return h, err
	}
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		return h, err
	}
	for _, name := range tasks {
		b, _ := os.ReadFile(name)
		for _, pid := range strings.Fields(string(b)) {
			h.children++
			if stat, _ := os.ReadFile("/proc/" + pid + "/stat"); bytes.Contains(stat, []byte(") Z ")) {
				h.zombies++
			}
		}
	}
	return h, nil
}

func init() {
	mains["many"] = func() int {
		sequential, err := strconv.Atoi(os.Args[1])
		if err != nil {
			return exitCode(err)
		}
		simultaneous, err := strconv.Atoi(os.Args[2])
		if err != nil {
			return exitCode(err)
		}
		return exitCode(manyChildren(sequential, simultaneous))
	}
}

func manyChildren(sequential, simultaneous int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	oneByOne := func(n int) error {
		for range n {
			p := process.New(takesBytes, make([]byte, 100))
			if err := p.Start(); err != nil {
				return err
			}
			if err := p.Join(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	atOnce := func(n int) error {
		gate, w, err := os.Pipe()
		if err != nil {
			return err
		}
		defer gate.Close()
		defer w.Close()
		var ps []*process.Process
		for range n {
			p := process.New(waitsAtGate, gate)
			if err := p.Start(); err != nil {
				return err
			}
			ps = append(ps, p)
		}
		if n := len(process.Children()); n != len(ps) {
			return fmt.Errorf("%d children run at once, want %d", n, len(ps))
		}
		w.Close()
		for _, p := range ps {
			if err := p.Join(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	// What it takes to start as many is there from the beginning: threads, and the space that goroutines had.
	for range 2 {
		if err := atOnce(simultaneous); err != nil {
			return err
		}
	}
	if err := oneByOne(sequential / 10); err != nil {
		return err
	}
	before, err := settledStock(ctx, nil)
	if err != nil {
		return err
	}

	began := time.Now()
	if err := oneByOne(sequential); err != nil {
		return err
	}
	took := time.Since(began)
	began = time.Now()
	if err := atOnce(simultaneous); err != nil {
		return err
	}
	fmt.Printf("%d children one by one in %v, %d at once in %v\n", sequential, took.Round(time.Millisecond), simultaneous, time.Since(began).Round(time.Millisecond))
	after, err := settledStock(ctx, &before)
	fmt.Printf("before %+v\nafter  %+v\n", before, after)
	return err
}

// settledStock takes stock when things have come to rest. It fails if they do not come to be as before.
func settledStock(ctx context.Context, before *holdings) (h holdings, err error) {
	// The runtime takes memory and gives it back, and tells the kernel how to treat parts of it, which makes
	// several mappings of one. What is lost with each child adds up to more.
	const memory, anonymous = 2 << 10, 50
	for end := time.Now().Add(deadline); ; time.Sleep(10 * time.Millisecond) {
		if err := stockUp(ctx); err != nil {
			return h, err
		}
		if h, err = takeStock(); err != nil {
			return h, err
		}
		switch {
		case before == nil && h.zombies == 0:
			return h, nil
		case before != nil && h.descriptors <= before.descriptors && h.goroutines <= before.goroutines && h.children <= before.children && h.zombies == 0 &&
			h.files <= before.files && h.anonymous <= before.anonymous+anonymous && (h.memory <= before.memory+memory || detector.Enabled): // the detector keeps a memory of its own
			return h, nil
		case time.Now().After(end):
			return h, fmt.Errorf("something is left: %+v", h)
		}
	}
}

var waitsAtGate = process.Register(func(_ context.Context, gate *os.File) error {
	_, err := io.Copy(io.Discard, gate)
	return err
})

// stockUp waits, in a program, until as many children are ready as there are to be.
func stockUp(ctx context.Context) error {
	if strings.HasPrefix(os.Getenv(wayMarker), process.ForkServer.String()) {
		return process.WarmUp(ctx)
	}
	return nil
}
