//go:build linux

package process_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/process"
)

type everything struct {
	Line    string // not UTF-8
	Bytes   []byte
	Numbers []int32
	Map     map[string][]float64
	Any     any
	Time    time.Time
	Deep    nested
	Array   [3]uint8
	Pointer *string
	Nil     *int
	Skipped func() `cbor:"-"`
}

type nested struct {
	Depth int
	Inner []nested
}

func nest(depth int) nested {
	n := nested{Depth: depth}
	if depth > 0 {
		n.Inner = []nested{nest(depth - 1)}
	}
	return n
}

func makeEverything(elements, depth int) everything {
	s := "pointed to"
	e := everything{
		Line:    "GET /caf\xe9 \xff\xfe\x00",
		Bytes:   []byte{0, 1, 2, 255},
		Map:     map[string][]float64{"a": {1, 2.5}, "\xff": nil},
		Any:     map[string]any{"n": int64(3), "s": []any{"x", true}},
		Time:    time.Date(2026, 11, 22, 1, 2, 3, 4567, time.FixedZone("", 3600)),
		Deep:    nest(depth),
		Array:   [3]uint8{7, 8, 9},
		Pointer: &s,
	}
	for i := range elements {
		e.Numbers = append(e.Numbers, int32(i))
	}
	return e
}

type expectation struct {
	Elements, Depth int
	Value           everything
}

var compare = process.Register(func(_ context.Context, x expectation) error {
	want := makeEverything(x.Elements, x.Depth)
	if !x.Value.Time.Equal(want.Time) {
		return fmt.Errorf("time %v, want %v", x.Value.Time, want.Time)
	}
	x.Value.Time = want.Time
	if !reflect.DeepEqual(x.Value, want) {
		return fmt.Errorf("got %.500v, want %.500v", x.Value, want)
	}
	return nil
})

func TestArguments(t *testing.T) { eachWay(t, testArguments) }

func testArguments(t *testing.T) {
	for _, x := range []expectation{
		{Elements: 3, Depth: 1},
		{Elements: 200_000, Depth: 1},
		{Elements: 3, Depth: 200},
	} {
		t.Run(fmt.Sprintf("%d elements, %d deep", x.Elements, x.Depth), func(t *testing.T) {
			x.Value = makeEverything(x.Elements, x.Depth)
			join(t, start(t, compare, x))
		})
	}
}

type sized struct {
	Data []byte
	Sum  [32]byte
	Size int
}

var checkSum = process.Register(func(_ context.Context, s sized) error {
	if len(s.Data) != s.Size || sha256.Sum256(s.Data) != s.Sum {
		return fmt.Errorf("%d bytes arrived, or other ones, of %d", len(s.Data), s.Size)
	}
	return nil
})

// Around what fits beside the header, and far beyond what any socket takes.
func TestSizesOfArguments(t *testing.T) { eachWay(t, testSizesOfArguments) }

func testSizesOfArguments(t *testing.T) {
	sizes := []int{0, 1, 1000, 1900, 1950, 2000, 2048, 4096, 1 << 16, 1 << 20}
	if !testing.Short() {
		sizes = append(sizes, 100<<20)
	}
	for _, size := range sizes {
		data := bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size]
		s := sized{data, sha256.Sum256(data), size}
		join(t, start(t, checkSum, s))
	}
}

// stopMarker stops a process before it reads its job.
const stopMarker = "PROCESS_TEST_STOP"

func init() {
	if os.Getenv(stopMarker) != "" {
		unix.Kill(os.Getpid(), unix.SIGSTOP)
	}
}

// Start returns although the child has not read anything, and does not for now.
func TestStartDoesNotWaitForTheChild(t *testing.T) {
	data := make([]byte, 8<<20)
	p := process.New(checkSum, sized{Data: data, Sum: sha256.Sum256(data), Size: len(data)})
	p.Env = append(os.Environ(), stopMarker+"=1")
	mustStart(t, p)
	continueStopped(t, p)
	join(t, p)
}

// continueStopped lets a process go on that was started with stopMarker.
func continueStopped(t *testing.T, p *process.Process) {
	t.Helper()
	if err := unix.Waitid(unix.P_PID, p.PID(), nil, unix.WSTOPPED, nil); err != nil {
		t.Fatal(err)
	}
	if !p.Alive() {
		t.Error("a stopped child has ended")
	}
	unix.Kill(p.PID(), unix.SIGCONT)
}

type handles struct {
	File     *os.File
	Map      map[string]*os.File
	Conns    []net.Conn
	Listener net.Listener
	TCP      *net.TCPConn
}

var useHandles = process.Register(func(_ context.Context, h handles) error {
	if _, err := fmt.Fprintln(h.File, "by the child"); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(h.Map["again"], "and again"); err != nil {
		return err
	}
	for i, c := range h.Conns {
		if _, err := fmt.Fprintf(c, "conn %d\n", i); err != nil {
			return err
		}
		c.Close()
	}
	fmt.Fprintln(h.TCP, "tcp")
	h.TCP.Close()
	c, err := h.Listener.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = fmt.Fprintln(c, "accepted")
	return err
})

func TestHandlesInArguments(t *testing.T) { eachWay(t, testHandlesInArguments) }

func testHandlesInArguments(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	pair := func() (ours, theirs net.Conn) {
		t.Helper()
		ours, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		theirs, err = l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ours.Close() })
		ours.SetDeadline(time.Now().Add(deadline))
		return ours, theirs
	}
	a, childA := pair()
	b, childB := pair()
	c, childC := pair()

	h := handles{
		File: f, Map: map[string]*os.File{"again": f}, Conns: []net.Conn{childA, childB},
		Listener: l, TCP: childC.(*net.TCPConn),
	}
	p := start(t, useHandles, h)
	for _, c := range []net.Conn{childA, childB, childC} {
		c.Close() // the child has its own
	}
	d, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, test := range []struct {
		conn net.Conn
		want string
	}{{a, "conn 0\n"}, {b, "conn 1\n"}, {c, "tcp\n"}, {d, "accepted\n"}} {
		if got, err := io.ReadAll(test.conn); string(got) != test.want || err != nil {
			t.Errorf("%q %v, want %q", got, err, test.want)
		}
	}
	join(t, p)
	if got, err := os.ReadFile(f.Name()); string(got) != "by the child\nand again\n" || err != nil {
		t.Errorf("file has %q %v", got, err)
	}
}

var countFiles = process.Register(func(_ context.Context, fs []*os.File) error {
	for i, f := range fs {
		if _, err := fmt.Fprintf(f, "%d\n", i); err != nil {
			return fmt.Errorf("file %d: %w", i, err)
		}
	}
	return nil
})

// More descriptors than the kernel puts into one message.
func TestManyDescriptors(t *testing.T) { eachWay(t, testManyDescriptors) }

func testManyDescriptors(t *testing.T) {
	const n = 600
	needDescriptors(t, 3*n)
	f, err := os.OpenFile(t.TempDir()+"/f", os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var fs []*os.File
	for range n {
		// Opened anew, so that each is a handle of its own.
		g, err := os.OpenFile(f.Name(), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		fs = append(fs, g)
	}
	before := descriptors(t)
	join(t, start(t, countFiles, fs))
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
	got, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(got), "\n"); lines != n || !strings.HasSuffix(string(got), fmt.Sprintf("\n%d\n", n-1)) {
		t.Errorf("%d lines, want %d", lines, n)
	}
}

func needDescriptors(t *testing.T, n uint64) {
	t.Helper()
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil || lim.Cur < n {
		t.Skipf("needs %d descriptors, has %d", n, lim.Cur)
	}
}

// A child that has no room for its descriptors says so.
func TestDescriptorLimitInChild(t *testing.T) {
	fs := make([]*os.File, 100)
	for i := range fs {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fs[i] = f
	}
	// The limit can only be set on the way: the child inherits it, and this process, which is under it
	// meanwhile, has all the descriptors it needs.
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	p := process.New(countFiles, fs)
	p.Env = append(os.Environ(), lowLimitMarker+"=1")
	mustStart(t, p)
	e := joinError(t, p)
	if e.Code != 1 || !strings.Contains(e.Err, "RLIMIT_NOFILE") {
		t.Errorf("%v", e)
	}
}

// lowLimitMarker makes a process lower its limit of descriptors before it reads its job.
const lowLimitMarker = "PROCESS_TEST_LOW_LIMIT"

func init() {
	if os.Getenv(lowLimitMarker) != "" {
		lim := unix.Rlimit{Cur: 40, Max: 40}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
			panic(err)
		}
	}
}

type locked struct {
	Name string
	Mu   *sync.Mutex
}

type unexported struct{ secret int }

var (
	takesChan       = process.Register(func(context.Context, map[string]chan int) error { return nil })
	takesFunc       = process.Register(func(context.Context, []func()) error { return nil })
	takesUnexported = process.Register(func(context.Context, *unexported) error { return nil })
	takesAny        = process.Register(func(context.Context, any) error { return nil })
	takesMutexes    = process.Register(func(context.Context, struct{ Jobs []locked }) error { return nil })
	takesConn       = process.Register(func(context.Context, struct{ Conn net.Conn }) error { return nil })
	takesProcess    = process.Register(func(context.Context, []*process.Process) error { return nil })
)

// What cannot cross is refused by Start, with the path to it, and nothing is left behind.
func TestRefusals(t *testing.T) { eachWay(t, testRefusals) }

func testRefusals(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cycle := map[string]any{}
	cycle["self"] = cycle
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	for _, test := range []struct {
		name string
		p    *process.Process
		want string
	}{
		{"mutex", process.New(takesMutexes, struct{ Jobs []locked }{[]locked{{}, {Mu: new(sync.Mutex)}}}), "args.Jobs[1].Mu"},
		{"chan", process.New(takesChan, map[string]chan int{"k": nil}), `args["k"]`},
		{"func", process.New(takesFunc, []func(){nil}), "args[0]"},
		{"unexported", process.New(takesUnexported, &unexported{1}), "args.secret"},
		{"handle in any", process.New(takesAny, any([]any{1, f})), "args[1]"},
		{"cycle", process.New(takesAny, any(cycle)), "args"},
		{"net.Pipe", process.New(takesConn, struct{ Conn net.Conn }{a}), "args.Conn"},
		{"process", process.New(takesProcess, []*process.Process{process.New(nothing, struct{}{})}), "args[0]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := descriptors(t)
			err := test.p.Start()
			if err == nil {
				t.Fatal("started")
			}
			t.Log(err)
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want the path %s", err, test.want)
			}
			if errors.Is(err, process.ErrStarted) || test.p.Alive() {
				t.Error("started after all")
			}
			if after := descriptors(t); after != before {
				t.Errorf("%d descriptors, %d before", after, before)
			}
		})
	}
}
