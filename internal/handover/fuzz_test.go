package handover_test

import (
	"io"
	"math"
	"net"
	"os"
	"reflect"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/handover"
)

type fuzzTarget struct {
	everywhere
	Self  *fuzzTarget
	Kids  []fuzzTarget
	ByKey map[[1]string]*fuzzTarget
	List  *list
	Tree  tree
	File  *os.File
	Conn  net.Conn
	Pkt   net.PacketConn
	Lis   []net.Listener
	Any   any
	Anys  map[any]any
	Text  color
	Read  map[level]blob
	Array asArray
	Nums  byNumber
	Event event
	Both  both
	Err   error
	Fn    func() `cbor:"-"`
	Ptr   uintptr
	Time  time.Time
	Bytes [4]byte
	Cells []*cell[map[string][]*box]
}

func fuzzSeeds(f *testing.F) {
	b := newBox(f, "b")
	b.inner = newBox(f, "inner")
	c1, c2 := tcpPair(f)
	for _, v := range []any{
		1, "x", []any{1, map[string]any{"k": time.Unix(1, 1)}}, b, []*box{b, b, nil}, []net.Conn{c1, c2}, c1, os.Stdin,
		fuzzTarget{
			everywhere: everywhere{Field: b, Map: map[string]*box{"x": b}, Text: []string{"t\xff"}},
			Self:       &fuzzTarget{Any: []any{1, "x"}, Anys: map[any]any{"k": 1.5}},
			Kids:       []fuzzTarget{{Text: 3, Ptr: 4}},
			ByKey:      map[[1]string]*fuzzTarget{{"k"}: {}},
			List:       &list{1, &list{2, nil}}, Tree: tree{"a": {"b": nil}},
			File: os.Stdin, Conn: c1,
			Read: map[level]blob{"l": blob("b")}, Array: asArray{A: 1}, Nums: byNumber{B: []byNumber{{A: 1}}},
			Event: event{time.Unix(5, 5), "e"}, Both: both{left{1, 2}, &Right{3, 4}}, Time: time.Unix(1, 0), Bytes: [4]byte{1},
			Cells: []*cell[map[string][]*box]{{map[string][]*box{"c": {b}}}},
		},
	} {
		m, err := handover.Marshal(v, "v")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(m.Data, len(m.FDs))
		m.Drop()
	}
	f.Add([]byte("\x83\x00\x01\x02"), 3)
	f.Add([]byte("\xa1\x64Self\xa1\x64Self\xf6"), 0)
}

// someFDs opens n descriptors and returns a check that all of them, or none, are still open.
func someFDs(t testing.TB, n int) []int {
	fds := make([]int, max(0, min(n, 8)))
	for i := range fds {
		fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		fds[i] = fd
	}
	return fds
}

func checkClosed(t testing.TB, fds []int) {
	t.Helper()
	for i, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			t.Errorf("descriptor %d of the message is still open", i)
			unix.Close(fd)
		}
	}
}

// FuzzUnmarshal: whatever the bytes and however many descriptors, no panic, and none of them stays open.
func FuzzUnmarshal(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		for _, p := range []any{
			new(fuzzTarget), new([]fuzzTarget), new(any), new(*box), new([]*box), new(map[string]*box), new(net.Conn), new(*os.File),
			new(boxes), new(tree), new(*list), new([2]*box), new(both), new(asArray), new(map[any]*box), new(error), new(chan int), new(box),
			new(*cell[[]*box]), new(map[[1]*box]int),
		} {
			fds := someFDs(t, n)
			given := append([]int(nil), fds...)
			taken, err := handover.Unmarshal(data, fds, p)
			switch {
			case err == nil:
				taken.Close()
			case err == io.EOF:
				t.Errorf("%T: a bare io.EOF", p)
			case !reflect.ValueOf(p).Elem().IsZero():
				t.Errorf("%T: %v left something in the target", p, err)
			}
			checkClosed(t, given)
		}
	})
}

// FuzzRoundTrip: a value that came out of a message, whatever it was, arrives again as it is.
func FuzzRoundTrip(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		var in fuzzTarget
		first, err := handover.Unmarshal(data, someFDs(t, n), &in)
		if err != nil {
			return
		}
		defer first.Close()
		m, err := handover.Marshal(in, "in")
		if err != nil {
			return // an any that holds what another encoder put there
		}
		fds := make([]int, len(m.FDs))
		for i, fd := range m.FDs {
			fds[i] = must(unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0))
		}
		given := append([]int(nil), fds...)
		m.Sent()
		var out fuzzTarget
		second, err := handover.Unmarshal(m.Data, fds, &out)
		if err != nil {
			t.Fatalf("%+v does not come back: %v", in, err)
		}
		if !same(reflect.ValueOf(in), reflect.ValueOf(out), 0) {
			t.Errorf("%+v arrives as\n%+v", in, out)
		}
		second.Close()
		checkClosed(t, given)
	})
}

// same is reflect.DeepEqual for values that crossed: handles by what they are, times by their instant, and NaN is NaN.
func same(a, b reflect.Value, depth int) bool {
	if !a.IsValid() || !b.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	if a.Type() != b.Type() {
		return false
	}
	if depth > 2000 {
		return true
	}
	depth++
	if a.CanInterface() {
		switch x := a.Interface().(type) {
		case time.Time:
			return x.Equal(b.Interface().(time.Time))
		case *os.File:
			return (x == nil) == (b.Interface().(*os.File) == nil)
		case *box:
			y := b.Interface().(*box)
			if x == nil || y == nil {
				return x == y
			}
			return x.name == y.name && (x.inner == nil) == (y.inner == nil)
		}
	}
	switch a.Kind() {
	case reflect.Float32, reflect.Float64:
		return a.Float() == b.Float() || math.IsNaN(a.Float()) && math.IsNaN(b.Float())
	case reflect.Pointer, reflect.Interface:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return same(a.Elem(), b.Elem(), depth)
	case reflect.Slice, reflect.Array:
		if a.Len() != b.Len() || a.Kind() == reflect.Slice && a.IsNil() != b.IsNil() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i), depth) {
				return false
			}
		}
		return true
	case reflect.Map:
		if a.Len() != b.Len() || a.IsNil() != b.IsNil() {
			return false
		}
		for i := a.MapRange(); i.Next(); {
			if k := i.Key(); !k.Equal(k) {
				continue // NaN is found nowhere
			}
			if y := b.MapIndex(i.Key()); !y.IsValid() || !same(i.Value(), y, depth) {
				return false
			}
		}
		return true
	case reflect.Struct:
		for i := range a.NumField() {
			if f := a.Type().Field(i); (f.IsExported() || f.Anonymous) && !same(a.Field(i), b.Field(i), depth) {
				return false
			}
		}
		return true
	case reflect.Func, reflect.Chan:
		return a.IsNil() == b.IsNil()
	}
	return a.Equal(b)
}
