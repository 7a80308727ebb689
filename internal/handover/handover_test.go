package handover_test

import (
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/handover"
)

// box is a handle with a name and a descriptor, as the toolkit's are.
type box struct {
	name   string
	fd     int
	inner  *box
	closed bool
	moves  bool
	gone   bool
}

func (b *box) HandOver(e *handover.Encoder) error {
	if b.closed {
		return os.ErrClosed
	}
	if err := e.Put(b.name); err != nil {
		return err
	}
	fd, err := unix.FcntlInt(uintptr(b.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	e.FD(fd, func() { unix.Close(fd) })
	if b.moves {
		e.OnSent(func() { b.gone = true })
	}
	if err := e.Put(b.inner != nil); err != nil || b.inner == nil {
		return err
	}
	return e.Handle(b.inner)
}

func (b *box) TakeOver(d *handover.Decoder) (err error) {
	b.fd = -1
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	if err := d.Get(&b.name); err != nil {
		return err
	}
	if b.fd, err = d.FD(); err != nil {
		return err
	}
	var has bool
	if err := d.Get(&has); err != nil || !has {
		return err
	}
	inner := new(box)
	if err := d.Handle(inner); err != nil {
		return err
	}
	b.inner = inner
	return nil
}

func (b *box) Close() error {
	if !b.closed {
		b.closed = true
		if b.fd >= 0 {
			unix.Close(b.fd)
		}
		if b.inner != nil {
			b.inner.Close()
		}
	}
	return nil
}

// cell is a generic handle without a descriptor.
type cell[T any] struct{ v T }

func (c *cell[T]) HandOver(e *handover.Encoder) error { return e.Put(c.v) }
func (c *cell[T]) TakeOver(d *handover.Decoder) error { return d.Get(&c.v) }

func newBox(t testing.TB, name string) *box {
	fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := &box{name: name, fd: fd}
	t.Cleanup(func() { b.Close() })
	return b
}

// checkFDs fails the test if it ends with other descriptors open than it began with.
func checkFDs(t testing.TB) {
	before := openFDs(t)
	t.Cleanup(func() {
		if after := openFDs(t); after != before {
			t.Errorf("%d descriptors open before the test, %d after it", before, after)
		}
	})
}

func openFDs(t testing.TB) int {
	t.Helper()
	dir := "/proc/self/fd"
	if _, err := os.Stat(dir); err != nil {
		dir = "/dev/fd"
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// ship marshals v and makes the message arrive: with duplicates of its descriptors, as the kernel does it.
func ship(t testing.TB, v any) ([]byte, []int) {
	t.Helper()
	m, err := handover.Marshal(v, "v")
	if err != nil {
		t.Fatal(err)
	}
	fds := make([]int, len(m.FDs))
	for i, fd := range m.FDs {
		if fds[i], err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
	}
	m.Sent()
	return m.Data, fds
}

// cross returns v as another process would see it, closed with the test.
func cross[T any](t testing.TB, v T) T {
	t.Helper()
	data, fds := ship(t, v)
	var out T
	taken, err := handover.Unmarshal(data, fds, &out)
	if err != nil {
		t.Fatalf("unmarshal: %v", err)
	}
	t.Cleanup(func() { taken.Close() })
	return out
}

func mustFail(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Fatalf("error %q does not say %q", err, p)
		}
	}
}

// Box makes an embedded box an exported field, as every handle type of the toolkit is.
type Box = box

type embedded struct{ *Box }

type inner struct {
	Deep *box
	N    int
}

type Base struct{ B *box }

type everywhere struct {
	Field   *box
	Nil     *box
	Slice   []*box
	Array   [2]*box
	Map     map[string]*box
	ByInt   map[int][]*box
	Pointer **box
	Struct  inner
	Structs []*inner
	inner
	*Base
	Generic *cell[map[string]int]
	Twice   *box
	Text    []string
}

func TestHandlesAnywhere(t *testing.T) {
	checkFDs(t)
	b := func(name string) *box { return newBox(t, name) }
	p := b("pointer")
	in := everywhere{
		Field:   b("field"),
		Slice:   []*box{b("s0"), nil, b("s2")},
		Array:   [2]*box{nil, b("a1")},
		Map:     map[string]*box{"x": b("x"), "y": b("y"), "nil": nil},
		ByInt:   map[int][]*box{1: {b("1")}, 2: nil, 3: {}},
		Pointer: &p,
		Struct:  inner{b("deep"), 1},
		Structs: []*inner{nil, {b("deeper"), 2}},
		inner:   inner{b("promoted"), 3},
		Base:    &Base{b("base")},
		Generic: &cell[map[string]int]{map[string]int{"n": 7}},
		Text:    []string{"a\xff", ""},
	}
	in.Twice = in.Field
	out := cross(t, in)

	var want, got []string
	collect := func(names *[]string, v everywhere) {
		add := func(b *box) {
			if b == nil {
				*names = append(*names, "-")
			} else {
				*names = append(*names, b.name)
			}
		}
		for _, b := range []*box{
			v.Field, v.Nil, v.Slice[0], v.Slice[1], v.Slice[2], v.Array[0], v.Array[1], v.Map["x"], v.Map["y"], v.Map["nil"],
			v.ByInt[1][0], *v.Pointer, v.Struct.Deep, v.Structs[1].Deep, v.Deep, v.B, v.Twice,
		} {
			add(b)
			if b != nil {
				if err := unix.Fstat(b.fd, new(unix.Stat_t)); err != nil {
					t.Errorf("%s: descriptor: %v", b.name, err)
				}
			}
		}
	}
	collect(&want, in)
	collect(&got, out)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("handles arrived as %v, want %v", got, want)
	}
	if out.Field == in.Field || out.Twice != out.Field {
		t.Errorf("one handle in two fields arrived as %p and %p", out.Field, out.Twice)
	}
	if out.Struct.N != 1 || out.Structs[0] != nil || out.Structs[1].N != 2 || out.N != 3 {
		t.Errorf("data beside the handles is lost: %+v", out)
	}
	if out.ByInt[2] != nil || out.ByInt[3] == nil || len(out.ByInt) != 3 || len(out.Map) != 3 {
		t.Errorf("maps: %v %v", out.ByInt, out.Map)
	}
	if out.Generic.v["n"] != 7 || !reflect.DeepEqual(out.Text, in.Text) {
		t.Errorf("generic handle %v, text %q", out.Generic, out.Text)
	}
}

func TestHandleInsideHandle(t *testing.T) {
	checkFDs(t)
	in := newBox(t, "outer")
	in.inner = newBox(t, "inner")
	out := cross(t, []*box{in, in.inner})
	if out[0].inner.name != "inner" || out[1].name != "inner" {
		t.Fatalf("arrived as %+v", out)
	}
}

func TestTopLevel(t *testing.T) {
	checkFDs(t)
	if b := cross(t, newBox(t, "top")); b.name != "top" {
		t.Errorf("handle: %+v", b)
	}
	if b := cross[*box](t, nil); b != nil {
		t.Errorf("nil handle: %+v", b)
	}
	if n := cross(t, 7); n != 7 {
		t.Errorf("int: %d", n)
	}
	if v := cross[any](t, nil); v != nil {
		t.Errorf("nil: %v", v)
	}
	if e := cross(t, embedded{newBox(t, "embedded")}); e.name != "embedded" {
		t.Errorf("struct that embeds a handle: %+v", e)
	}
}

func TestMessageEnds(t *testing.T) {
	checkFDs(t)
	b := newBox(t, "b")
	b.moves = true
	m, err := handover.Marshal(b, "b")
	if err != nil {
		t.Fatal(err)
	}
	m.Drop()
	m.Sent()
	if b.gone {
		t.Error("the handle moved with a message that was dropped")
	}
	if m, err = handover.Marshal(b, "b"); err != nil {
		t.Fatal(err)
	}
	m.Sent()
	m.Drop()
	if !b.gone {
		t.Error("the handle did not move with a message that was sent")
	}
}

func TestMarshalFailsHalfway(t *testing.T) {
	checkFDs(t)
	bad := newBox(t, "bad")
	bad.Close()
	_, err := handover.Marshal(map[string][]*box{"k": {newBox(t, "good"), bad}}, "args")
	if mustFail(t, err, `args["k"][1]: `); !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v is not os.ErrClosed", err)
	}
}

type list struct {
	V    int
	Next *list
}

type tree map[string]tree

type boxes struct {
	B    *box
	Kids []boxes
}

func TestRecursive(t *testing.T) {
	checkFDs(t)
	const longest = 65_000
	var l *list
	for i := range longest {
		l = &list{i, l}
	}
	n := 0
	for l := cross(t, l); l != nil; l = l.Next {
		n++
	}
	if n != longest {
		t.Errorf("list of %d arrived", n)
	}
	tr := tree{"a": {"b": nil, "c": {}}, "d": nil}
	if got := cross(t, tr); !reflect.DeepEqual(got, tr) {
		t.Errorf("tree arrived as %v", got)
	}
	bs := cross(t, boxes{newBox(t, "0"), []boxes{{Kids: []boxes{{B: newBox(t, "1")}}}}})
	if bs.B.name != "0" || bs.Kids[0].Kids[0].B.name != "1" {
		t.Errorf("boxes arrived as %+v", bs)
	}
	shared := &list{V: 1}
	if got := cross(t, []*list{shared, shared, {Next: shared}}); got[0].V != 1 || got[1].V != 1 || got[2].Next.V != 1 {
		t.Errorf("shared sub-value arrived as %v", got)
	}
}

func TestContainsItself(t *testing.T) {
	l := &list{}
	l.Next = &list{Next: l}
	s := []any{1, nil}
	s[1] = s
	m := map[string]any{}
	m["k"] = []any{m}
	tr := tree{}
	tr["x"] = tree{"y": tr}
	type ptr *ptr
	var p ptr
	p = &p
	long := &list{}
	end := long
	for range 1000 {
		end.Next = &list{}
		end = end.Next
	}
	end.Next = long
	for _, c := range []struct {
		name string
		v    any
		path string
	}{
		{"pointer", l, "v.Next.Next: "},
		{"slice in any", s, "v[1]: "},
		{"map in any", m, `v["k"][0]: `},
		{"map", tr, `v["x"]["y"]: `},
		{"pointer to itself", p, "v: "},
		{"far away", long, "v.Next.Next.Next.Next.Next.Next.Next.Next….Next.Next.Next.Next.Next.Next.Next.Next: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := handover.Marshal(c.v, "v")
			mustFail(t, err, c.path+"the value contains itself")
		})
	}
}

func TestTooDeep(t *testing.T) {
	var l *list
	for i := range 70_000 {
		l = &list{i, l}
	}
	_, err := handover.Marshal(l, "v")
	mustFail(t, err, "nested more than")
	var a any
	for range 70_000 {
		a = []any{a}
	}
	_, err = handover.Marshal(a, "v")
	mustFail(t, err, "nested more than")
}

func TestUnmarshalFaults(t *testing.T) {
	data, fds := ship(t, everywhere{Field: newBox(t, "f"), Slice: []*box{newBox(t, "s")}, Pointer: new(*box)})
	for _, fd := range fds {
		unix.Close(fd)
	}
	open := func(n int) []int {
		fds := make([]int, n)
		for i := range fds {
			fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			fds[i] = fd
		}
		return fds
	}
	t.Run("truncated", func(t *testing.T) {
		checkFDs(t)
		for n := range data {
			_, err := handover.Unmarshal(data[:n:n], open(2), new(everywhere))
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%d bytes: %v", n, err)
			}
		}
	})
	t.Run("too few descriptors", func(t *testing.T) {
		checkFDs(t)
		for n := range 2 {
			var out everywhere
			_, err := handover.Unmarshal(data, open(n), &out)
			mustFail(t, err, "message.", "is missing")
			if out.Field != nil {
				t.Error("a closed handle is left in the target")
			}
		}
	})
	t.Run("too many descriptors", func(t *testing.T) {
		checkFDs(t)
		taken, err := handover.Unmarshal(data, open(5), new(everywhere))
		if err != nil {
			t.Fatal(err)
		}
		if taken.Len() != 2 {
			t.Errorf("%d things taken", taken.Len())
		}
		taken.Close()
		taken.Close()
	})
	t.Run("trailing bytes", func(t *testing.T) {
		checkFDs(t)
		_, err := handover.Unmarshal(append(data[:len(data):len(data)], 0), open(2), new(everywhere))
		mustFail(t, err, "1 bytes after")
	})
	t.Run("other type", func(t *testing.T) {
		checkFDs(t)
		_, err := handover.Unmarshal(data, open(2), new(int))
		mustFail(t, err, "message: ")
	})
	t.Run("every byte changed", func(t *testing.T) {
		checkFDs(t)
		for i := range data {
			for _, x := range []byte{0x01, 0x20, 0x80, 0xff} {
				bad := append([]byte(nil), data...)
				bad[i] ^= x
				if taken, err := handover.Unmarshal(bad, open(2), new(everywhere)); err == nil {
					taken.Close()
				}
			}
		}
	})
	t.Run("older receiver", func(t *testing.T) {
		checkFDs(t)
		var out struct{ Slice []*box }
		taken, err := handover.Unmarshal(data, open(2), &out)
		if err != nil {
			t.Fatal(err)
		}
		if out.Slice[0].name != "s" || taken.Len() != 1 {
			t.Errorf("arrived as %+v", out)
		}
		taken.Close()
	})
}

func TestSideBySide(t *testing.T) {
	type fresh struct { // seen by nobody before
		L  *list
		B  *box
		M  map[string]any
		Me *fresh
	}
	b := newBox(t, "b")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				out := cross(t, fresh{L: &list{V: 3}, B: b, M: map[string]any{"x": []any{1}}, Me: &fresh{B: b}})
				if out.L.V != 3 || out.Me.B != out.B {
					t.Error("mixed up")
				}
			}
		})
	}
	wg.Wait()
}
