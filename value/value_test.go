package value_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/shm"
	"github.com/go-multiproc/multiproc/value"
)

type odd struct {
	A uint8
	B [2]uint8
}

type padded struct {
	N int32
	B bool
}

// typedHelper swaps a value of the type that the test names with what it is told.
func typedHelper(args []string) int {
	files, err := strconv.Atoi(args[2])
	if err != nil {
		panic(err)
	}
	if err := typed[args[1]].inHelper(args[0], files); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// A typedCase runs the same test for one type.
type typedCase struct {
	inTest   func(*testing.T)
	inHelper func(arg string, files int) error
}

// of makes a case of two different values.
func of[T any](a, b T) typedCase {
	equal := func(x, y T) bool { return reflect.DeepEqual(x, y) }
	return typedCase{
		inTest: func(t *testing.T) {
			create, err := value.New(a)
			v := own(t, create, err)
			check := func(what string, got, want T) {
				t.Helper()
				if !equal(got, want) {
					t.Errorf("%s: %v, want %v", what, got, want)
				}
			}
			check("Load", v.Load(), a)
			v.Store(b)
			check("Load after Store", v.Load(), b)
			check("Swap", v.Swap(a), b)
			check("Load after Swap", v.Load(), a)
			if v.CompareAndSwap(b, b) {
				t.Error("CompareAndSwap of another value succeeded")
			}
			if !v.CompareAndSwap(a, b) {
				t.Error("CompareAndSwap of the value failed")
			}
			check("Load after CompareAndSwap", v.Load(), b)
			got, err := v.Update(background, func(x T) T { check("in Update", x, b); return a })
			verify.Must(t, err)
			check("Update", got, a)
			check("Load after Update", v.Load(), a)
			// The helper swaps it for b.
			arg, files := reexec.Give(t, map[string]*value.Value[T]{"v": v})
			reexec.Start(t, "typed", files, arg, typeName(a), strconv.Itoa(len(files))).Done()
			check("Load after another process's Store", v.Load(), b)
		},
		inHelper: func(arg string, files int) error {
			var m map[string]*value.Value[T]
			if err := reexec.Take(arg, files, &m); err != nil {
				return err
			}
			if got := m["v"].Swap(b); !equal(got, a) {
				return fmt.Errorf("got %v, want %v", got, a)
			}
			return nil
		},
	}
}

func typeName(x any) string { return fmt.Sprintf("%T", x) }

var typed = map[string]typedCase{}

func init() {
	add := func(name string, c typedCase) { typed[name] = c }
	add("bool", of(true, false))
	add("int8", of(int8(-1), int8(127)))
	add("uint8", of(uint8(255), uint8(1)))
	add("int16", of(int16(-2), int16(32767)))
	add("uint16", of(uint16(65535), uint16(3)))
	add("int32", of('超', int32(-3)))
	add("uint32", of(uint32(math.MaxUint32), uint32(4)))
	add("int64", of(int64(math.MinInt64), int64(-4)))
	add("uint64", of(uint64(math.MaxUint64), uint64(5)))
	add("int", of(-5, math.MaxInt))
	add("uint", of(uint(6), uint(math.MaxUint)))
	add("float32", of(float32(1.5), float32(-2.25)))
	add("float64", of(math.Pi, -math.MaxFloat64))
	add("complex64", of(complex64(1+2i), complex64(-1i)))
	add("complex128", of(1+2i, -1i))
	add("value_test.odd", of(odd{1, [2]uint8{2, 3}}, odd{255, [2]uint8{254, 253}}))
	add("value_test.padded", of(padded{-1, true}, padded{1, false}))
	add("value_test.sample", of(sample{At: 1, Total: 2}, sample{Count: [3]int32{1, 2, 3}, Flags: 9}))
	add("[5]uint8", of([5]uint8{1, 2, 3, 4, 5}, [5]uint8{}))
	add("[3]float64", of([3]float64{1, 2, 3}, [3]float64{math.Inf(1), 0, -1}))
	add("[1000]int32", of([1000]int32{0: 1, 999: 2}, [1000]int32{500: 3}))
	add("time.Duration", of(time.Second, time.Hour))
}

func TestEveryType(t *testing.T) {
	for name, c := range typed {
		t.Run(name, c.inTest)
	}
}

func TestRefusedTypes(t *testing.T) {
	check := func(err error, want string) {
		t.Helper()
		if !errors.Is(err, fs.ErrInvalid) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want %s…", err, want)
		}
	}
	type user struct {
		ID   int64
		Name string
	}
	_, err := value.New(user{})
	check(err, "value: user.Name: a string has no fixed size; use an array of bytes")
	_, err = value.New(new(int))
	check(err, "value: *int: a pointer means nothing in another process")
	_, err = value.New[any](1)
	check(err, "value: interface {}: an interface")
	_, err = value.New(struct{}{})
	check(err, "value: struct {}: it has size zero")
	_, err = value.NewRaw([]int{1})
	check(err, "value: []int: a slice has no fixed size")
	_, err = value.Create("never", "x")
	check(err, "value: string: ")
	_, err = value.Open[string]("never")
	check(err, "value: string: ")
}

func TestCompareAndSwapComparesValues(t *testing.T) {
	t.Run("NaN", func(t *testing.T) {
		c, err := value.New(math.NaN())
		if v := own(t, c, err); v.CompareAndSwap(math.NaN(), 1) {
			t.Error("NaN was equal to NaN")
		}
	})
	t.Run("zeros", func(t *testing.T) {
		c, err := value.New(math.Copysign(0, -1))
		if v := own(t, c, err); !v.CompareAndSwap(0, 1) {
			t.Error("-0 was not equal to 0")
		}
	})
	t.Run("zeros in a struct", func(t *testing.T) {
		c, err := value.New(sample{At: math.Copysign(0, -1)})
		if v := own(t, c, err); !v.CompareAndSwap(sample{}, sample{Total: 1}) {
			t.Error("-0 was not equal to 0")
		}
	})
}

// These have padding. They have arrays in them, since Go passes such structs in memory, and so
// the padding with them: it would get lost on the way through registers.
type (
	paddedWord struct {
		A [2]byte
		B int32
	}
	paddedLarge struct {
		A [2]byte
		B int64
		C int32
	}
)

// What Go leaves in padding does not get out.
func TestPaddingIsZero(t *testing.T) {
	t.Run("word", func(t *testing.T) { checkPadding[paddedWord](t, 2, 3) })
	t.Run("large", func(t *testing.T) { checkPadding[paddedLarge](t, 2, 3, 4, 5, 6, 7, 20, 21, 22, 23) })
}

func checkPadding[T comparable](t *testing.T, padding ...int) {
	n := name(t)
	c, err := value.Create(n, *dirty[T]())
	v := own(t, c, err)
	check := func(what string) {
		t.Helper()
		b, err := os.ReadFile("/dev/shm/" + n)
		verify.Must(t, err)
		if b[0] == 0 {
			t.Errorf("%s changed nothing", what)
		}
		for _, at := range padding {
			if b[at] != 0 {
				t.Errorf("after %s: % x", what, b[:unsafeSize[T]()])
				break
			}
		}
		var zero T
		v.Store(zero)
	}
	check("Create")
	v.Store(*dirty[T]())
	check("Store")
	v.Swap(*dirty[T]())
	check("Swap")
	if !v.CompareAndSwap(v.Load(), *dirty[T]()) {
		t.Error("CompareAndSwap failed")
	}
	check("CompareAndSwap")
	_, err = v.Update(background, func(T) T { return *dirty[T]() })
	verify.Must(t, err)
	check("Update")
}

func TestAdd(t *testing.T) {
	t.Run("wraps", func(t *testing.T) {
		c, err := value.New(uint8(250))
		v := own(t, c, err)
		if got := value.Add(v, 10); got != 4 || v.Load() != 4 {
			t.Errorf("250 + 10 = %d, %d", got, v.Load())
		}
		three := uint8(3)
		if got := value.Add(v, -three); got != 1 {
			t.Errorf("4 - 3 = %d", got)
		}
	})
	t.Run("int16", func(t *testing.T) {
		c, err := value.New(int16(-32768))
		if got := value.Add(own(t, c, err), -1); got != 32767 {
			t.Errorf("-32768 - 1 = %d", got)
		}
	})
	t.Run("uint64", func(t *testing.T) {
		c, err := value.New(uint64(1))
		two := uint64(2)
		if got := value.Add(own(t, c, err), -two); got != math.MaxUint64 {
			t.Errorf("1 - 2 = %d", got)
		}
	})
	t.Run("float32", func(t *testing.T) {
		c, err := value.New(float32(0.5))
		if got := value.Add(own(t, c, err), 0.25); got != 0.75 {
			t.Errorf("0.5 + 0.25 = %v", got)
		}
	})
	t.Run("named type", func(t *testing.T) {
		c, err := value.New(time.Second)
		if got := value.Add(own(t, c, err), time.Minute); got != 61*time.Second {
			t.Errorf("1s + 1m = %v", got)
		}
	})
}

// Nothing is lost between goroutines and processes, whatever they use.
func TestCountingTogether(t *testing.T) {
	const processes, goroutines, each = 3, 2, 500
	var c counted
	var err error
	c.Add, err = value.New[int64](0)
	own(t, c.Add, err)
	c.Small, err = value.New[uint8](0)
	own(t, c.Small, err)
	c.Float, err = value.New[float64](0)
	own(t, c.Float, err)
	c.Update, err = value.New[int32](0)
	own(t, c.Update, err)
	c.Struct, err = value.New(sample{})
	own(t, c.Struct, err)
	c.Same = c.Add
	arg, files := reexec.Give(t, c)
	var ps []*reexec.Process
	for range processes {
		ps = append(ps, reexec.Start(t, "count", files, arg, strconv.Itoa(each), strconv.Itoa(len(files))))
	}
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() { c.count(each) })
	}
	all.Wait()
	for _, p := range ps {
		p.Done()
	}
	const total = (processes + goroutines) * each
	if got := c.Add.Load(); got != total {
		t.Errorf("Add: %d, want %d", got, total)
	}
	if got := c.Small.Load(); got != uint8(total%256) {
		t.Errorf("Add of uint8: %d, want %d", got, uint8(total%256))
	}
	if got := c.Float.Load(); got != total/2 {
		t.Errorf("Add of float64: %v, want %v", got, total/2)
	}
	if got := c.Update.Load(); got != 2*total {
		t.Errorf("Update and Add: %d, want %d", got, 2*total)
	}
	if s := c.Struct.Load(); s.Total != total || s.Count[1] != total {
		t.Errorf("Update and CompareAndSwap of a struct: %d and %d, want %d", s.Total, s.Count[1], total)
	}
}

func TestUpdateTakesTheGuard(t *testing.T) {
	for name, newValue := range map[string]func() (*value.Value[[3]int64], error){
		"own guard": func() (*value.Value[[3]int64], error) { return value.New([3]int64{}) },
		"file lock": func() (*value.Value[[3]int64], error) {
			n := name(t)
			l, err := psync.NewFileLock(filepath.Join(t.TempDir(), "lock"))
			verify.Must(t, err)
			t.Cleanup(func() { verify.Must(t, l.Close()) })
			return value.Create(n, [3]int64{}, value.Options{Guard: l})
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := newValue()
			v := own(t, c, err)
			verify.Must(t, v.Mutex().Lock(background))
			ctx, cancel := context.WithCancel(background)
			wait := verify.Blocks(t, "Update", func() error {
				_, err := v.Update(ctx, func(x [3]int64) [3]int64 { return x })
				return err
			})
			v.Store([3]int64{1}) // takes no guard
			cancel()
			if err := wait(); err != context.Canceled {
				t.Errorf("Update = %v, want the ctx's own error", err)
			}
			verify.Must(t, v.Mutex().Unlock())
			got, err := v.Update(ctx, func(x [3]int64) [3]int64 { x[1]++; return x })
			if err != nil || got != [3]int64{1, 1, 0} {
				t.Errorf("Update with a free guard and an ended ctx = %v, %v", got, err)
			}
		})
	}
}

func TestUpdatePanics(t *testing.T) {
	c, err := value.New(sample{Total: 7})
	v := own(t, c, err)
	verify.Panics(t, "oh", func() {
		v.Update(background, func(s sample) sample { s.Total = 8; panic("oh") })
	})
	if got := v.Load().Total; got != 7 {
		t.Errorf("after a panic: %d", got)
	}
	if ok, err := v.Mutex().TryLock(); !ok || err != nil {
		t.Errorf("TryLock after a panic = %v, %v", ok, err)
	}
	verify.Must(t, v.Mutex().Unlock())
	left := make(chan struct{})
	go func() {
		defer close(left)
		v.Update(background, func(s sample) sample { runtime.Goexit(); return s })
	}()
	<-left
	_, err = v.Update(background, func(s sample) sample { return s })
	verify.Must(t, err)
}

func TestRaw(t *testing.T) {
	v, err := value.NewRaw(int32(1))
	own(t, v, err)
	if m := v.Mutex(); m != nil {
		t.Errorf("Mutex() = %v", m)
	}
	got, err := v.Update(background, func(n int32) int32 { return n + 1 })
	if got != 2 || err != nil {
		t.Errorf("Update = %d, %v", got, err)
	}
	ended, cancel := context.WithCancel(background)
	cancel()
	if _, err := v.Update(ended, func(n int32) int32 { return n + 1 }); err != context.Canceled || v.Load() != 2 {
		t.Errorf("Update with an ended ctx = %v, value %d", err, v.Load())
	}
	s, err := value.NewRaw(sample{})
	own(t, s, err)
	s.Store(sample{Total: 3})
	if s.Load().Total != 3 {
		t.Error("a struct without a guard is lost")
	}
}

func TestNamed(t *testing.T) {
	n := name(t)
	c, err := value.Create(n, sample{Total: 1})
	v := own(t, c, err)
	if v.Name() != n {
		t.Errorf("Name() = %q", v.Name())
	}
	if _, err := value.Create(n, sample{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second Create: %v", err)
	}
	type same struct {
		When  float64
		N     [3]rune
		Bits  uint32
		Final int
	}
	o, err := value.Open[same](n)
	w := own(t, o, err)
	if w.Load().Final != 1 {
		t.Errorf("a struct of the same layout is %+v", w.Load())
	}
	verify.Must(t, value.Remove(n))
	if _, err := value.Open[sample](n); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open after Remove: %v", err)
	}
	if err := value.Remove(n); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("second Remove: %v", err)
	}
	v.Store(sample{Total: 2})
	if w.Load().Final != 2 {
		t.Error("removing the name parted them")
	}
}

func TestOpenRefuses(t *testing.T) {
	n := name(t)
	c, err := value.Create(n, int64(1))
	own(t, c, err)
	check := func(what string, err, want error, says string) {
		t.Helper()
		if !errors.Is(err, want) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %v and %q", what, err, want, says)
		}
	}
	_, err = value.Open[float64](n)
	check("other type", err, shm.ErrType, "i64, not f64")
	_, err = value.Open[[2]int32](n)
	check("other type of the same size", err, shm.ErrType, "i64, not i32x2")
	_, err = array.Open[int64](n)
	check("as an array", err, shm.ErrType, "value of i64, not a array")
	_, err = shm.Open(n)
	check("as a segment", err, shm.ErrType, "")

	a := n + "-array"
	t.Cleanup(func() { array.Remove(a) })
	arr, err := array.Create[int64](a, 1)
	verify.Must(t, err)
	defer arr.Close()
	_, err = value.Open[int64](a)
	check("an array", err, shm.ErrType, "")
	_, err = value.Open[int64](n + "-none")
	check("no such name", err, fs.ErrNotExist, "")
	if err := value.Remove(a); err == nil {
		t.Error("value.Remove removed an array")
	}
}

func TestGuards(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := psync.NewFileLock(path)
	verify.Must(t, err)
	t.Cleanup(func() { verify.Must(t, l.Close()) })
	m, err := psync.NewMutex()
	verify.Must(t, err)
	t.Cleanup(func() { verify.Must(t, m.Close()) })
	other, err := psync.NewMutex()
	verify.Must(t, err)
	t.Cleanup(func() { verify.Must(t, other.Close()) })

	t.Run("file lock is found by its path", func(t *testing.T) {
		n := name(t)
		c, err := value.Create(n, 1, value.Options{Guard: l})
		v := own(t, c, err)
		if v.Mutex() != psync.Locker(l) {
			t.Errorf("Mutex() = %v", v.Mutex())
		}
		o, err := value.Open[int](n)
		w := own(t, o, err)
		verify.Must(t, v.Mutex().Lock(background))
		if ok, err := w.Mutex().TryLock(); ok || err != nil {
			t.Errorf("TryLock of the same guard = %v, %v", ok, err)
		}
		verify.Must(t, l.Unlock())
		again, err := value.Open[int](n, value.Options{Guard: l})
		own(t, again, err)
		verify.Must(t, again.Close())
		verify.Must(t, l.Lock(background)) // closing the Value did not close it
		verify.Must(t, l.Unlock())
		if _, err := value.Open[int](n, value.Options{Guard: m}); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Open with a guard of another kind: %v", err)
		}
	})
	t.Run("mutex has to be given", func(t *testing.T) {
		n := name(t)
		c, err := value.Create(n, 1, value.Options{Guard: m})
		own(t, c, err)
		if _, err := value.Open[int](n); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "Options.Guard") {
			t.Errorf("Open without the guard: %v", err)
		}
		if _, err := value.Open[int](n, value.Options{Guard: other}); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Open with another mutex: %v", err)
		}
		o, err := value.Open[int](n, value.Options{Guard: m})
		own(t, o, err)
	})
	t.Run("own guard", func(t *testing.T) {
		n := name(t)
		c, err := value.Create(n, 1, value.Options{Guard: (*psync.FileLock)(nil)}) // a nil is none
		own(t, c, err)
		if _, err := value.Open[int](n, value.Options{Guard: l}); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Open with a guard: %v", err)
		}
	})
	t.Run("guard of another value", func(t *testing.T) {
		c, err := value.New(1)
		first := own(t, c, err)
		n := name(t)
		c, err = value.Create(n, 1, value.Options{Guard: first.Mutex()})
		second := own(t, c, err)
		verify.Must(t, first.Mutex().Lock(background))
		if ok, err := second.Mutex().TryLock(); ok || err != nil {
			t.Errorf("TryLock = %v, %v", ok, err)
		}
		verify.Must(t, second.Mutex().Unlock())
	})
	t.Run("foreign type", func(t *testing.T) {
		n := name(t)
		c, err := value.Create(n, 1, value.Options{Guard: &mine{l}})
		v := own(t, c, err)
		if got, err := v.Update(background, func(n int) int { return n + 1 }); got != 2 || err != nil {
			t.Errorf("Update = %d, %v", got, err)
		}
		if _, err := value.Open[int](n); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Open: %v", err)
		}
	})
}

type mine struct{ psync.Locker }

func TestClose(t *testing.T) {
	n := name(t)
	create, err := value.Create(n, sample{Total: 5})
	v := own(t, create, err)
	o, err := value.Open[sample](n)
	other := own(t, o, err)
	c, err := value.New(1)
	verify.Must(t, err)
	for range 2 {
		verify.Must(t, v.Close())
		verify.Must(t, c.Close())
	}
	if got := other.Load().Total; got != 5 {
		t.Errorf("closing one handle took the other's memory: %d", got)
	}
	const text = "value: use of closed Value"
	verify.Panics(t, text, func() { v.Load() })
	verify.Panics(t, text, func() { v.Store(sample{}) })
	verify.Panics(t, text, func() { v.Swap(sample{}) })
	verify.Panics(t, text, func() { v.CompareAndSwap(sample{}, sample{}) })
	verify.Panics(t, text, func() { c.Load() })
	verify.Panics(t, text, func() { c.Store(1) })
	verify.Panics(t, text, func() { c.Swap(1) })
	verify.Panics(t, text, func() { c.CompareAndSwap(0, 1) })
	verify.Panics(t, text, func() { value.Add(c, 1) })
	_, err = v.Update(background, func(s sample) sample { return s })
	for what, err := range map[string]error{
		"Update": err, "Lock": v.Mutex().Lock(background), "Unlock": v.Mutex().Unlock(),
	} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s after Close = %v", what, err)
		}
	}
	var zero value.Value[int]
	verify.Must(t, zero.Close())
}

func TestCloseWhileTheGuardIsHeld(t *testing.T) {
	v, err := value.New(1)
	verify.Must(t, err)
	verify.Must(t, v.Mutex().Lock(background))
	if err := v.Close(); !errors.Is(err, psync.ErrHeld) {
		t.Fatalf("Close = %v, want ErrHeld", err)
	}
	if v.Load() != 1 {
		t.Error("a Close that failed closed")
	}
	verify.Must(t, v.Mutex().Unlock())
	verify.Must(t, v.Close())
}

func TestCloseWaitsForUpdate(t *testing.T) {
	l, err := psync.NewFileLock(filepath.Join(t.TempDir(), "lock"))
	verify.Must(t, err)
	defer l.Close()
	for guard, newValue := range map[string]func() (*value.Value[sample], error){
		"own":  func() (*value.Value[sample], error) { return value.New(sample{}) },
		"none": func() (*value.Value[sample], error) { return value.NewRaw(sample{}) },
		"file": func() (*value.Value[sample], error) {
			return value.Create(name(t), sample{}, value.Options{Guard: l})
		},
	} {
		t.Run(guard, func(t *testing.T) {
			v, err := newValue()
			verify.Must(t, err)
			inside, leave := make(chan struct{}), make(chan struct{})
			updated := make(chan error, 1)
			go func() {
				_, err := v.Update(background, func(s sample) sample {
					close(inside)
					<-leave
					return s
				})
				updated <- err
			}()
			<-inside
			again := func() error {
				_, err := v.Update(background, func(s sample) sample { return s })
				return err
			}
			var waiting func() error
			if guard == "none" {
				verify.Must(t, again())
			} else {
				waiting = verify.Blocks(t, "Update", again)
			}
			wait := verify.Blocks(t, "Close", v.Close)
			if waiting != nil {
				if err := waiting(); !errors.Is(err, fs.ErrClosed) {
					t.Errorf("Update that waited for the guard = %v", err)
				}
			}
			close(leave)
			verify.Must(t, <-updated)
			verify.Must(t, wait())
		})
	}
}

// The same when the process has the memory by another handle as well.
func TestCloseWaitsForUpdateOfOneHandle(t *testing.T) {
	n := name(t)
	v, err := value.Create(n, sample{})
	verify.Must(t, err)
	o, err := value.Open[sample](n)
	other := own(t, o, err)
	inside, leave, updated := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := v.Update(background, func(s sample) sample {
			close(inside)
			<-leave
			s.Total = 5
			return s
		})
		updated <- err
	}()
	<-inside
	wait := verify.Blocks(t, "Close", v.Close)
	close(leave)
	verify.Must(t, <-updated)
	verify.Must(t, wait())
	if got := other.Load().Total; got != 5 {
		t.Errorf("what Update set is lost: %d", got)
	}
	_, err = other.Update(background, func(s sample) sample { return s })
	verify.Must(t, err)
}

// Close while others are at it: they panic or have been in time, and nothing
// faults or reads zeros.
func TestCloseUnderUse(t *testing.T) {
	for range 20 {
		v, err := value.New(int64(7))
		verify.Must(t, err)
		s, err := value.New(sample{Total: 7})
		verify.Must(t, err)
		var all sync.WaitGroup
		use := func(f func()) {
			all.Go(func() {
				defer func() { recover() }()
				for {
					f()
				}
			})
		}
		use(func() {
			if got := v.Load(); got != 7 {
				t.Errorf("Load = %d", got)
			}
		})
		use(func() {
			if got := s.Load().Total; got != 7 {
				t.Errorf("Load of a struct = %d", got)
			}
		})
		use(func() { s.Store(sample{Total: 7}) })
		use(func() {
			if got := s.Swap(sample{Total: 7}); got.Total != 7 {
				t.Errorf("Swap = %+v", got)
			}
		})
		runtime.Gosched()
		verify.Must(t, v.Close())
		verify.Must(t, s.Close())
		all.Wait()
	}
}

// A Value that nobody can reach closes itself.
func TestLeaksNothing(t *testing.T) {
	count := func() (fds, maps int) {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		b, err := os.ReadFile("/proc/self/maps")
		verify.Must(t, err)
		return len(list), strings.Count(string(b), "memfd:")
	}
	fds, maps := count()
	for range 20 {
		v, err := value.New(sample{})
		verify.Must(t, err)
		_, err = v.Update(background, func(s sample) sample { return s })
		verify.Must(t, err)
		verify.Must(t, v.Close())
	}
	if f, m := count(); f > fds || m > maps {
		t.Errorf("%d descriptors and %d mappings before, %d and %d after", fds, maps, f, m)
	}
	for range 20 {
		_, err := value.New(sample{})
		verify.Must(t, err)
		_, err = value.NewRaw(1)
		verify.Must(t, err)
	}
	for end := time.Now().Add(60 * time.Second); ; {
		runtime.GC()
		f, m := count()
		if f <= fds && m <= maps {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d descriptors and %d mappings before, %d and %d after", fds, maps, f, m)
		}
	}
}

// A named Value has the mode that was asked for, whatever the umask; and one of another user is
// opened only by those who say that they know.
func TestOptions(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := tmpfs(t)
	for _, test := range []struct{ ask, want fs.FileMode }{{0, 0o600}, {0o640, 0o640}} {
		name := fmt.Sprintf("v%o", test.ask)
		c, err := value.Create(name, 1, value.Options{Dir: dir, Mode: test.ask})
		own(t, c, err)
		st, err := os.Stat(filepath.Join(dir, name))
		verify.Must(t, err)
		if st.Mode().Perm() != test.want {
			t.Errorf("Mode %o: %o, want %o", test.ask, st.Mode().Perm(), test.want)
		}
		if _, err := value.Open[int](name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("opened in another directory: %v", err)
		}
	}
	if os.Getuid() != 0 {
		return // only root can give files away
	}
	verify.Must(t, os.Chown(filepath.Join(dir, "v0"), 65534, 65534))
	if _, err := value.Open[int]("v0", value.Options{Dir: dir}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("another user's: %v", err)
	}
	c, err := value.Open[int]("v0", value.Options{Dir: dir, AnyOwner: true})
	own(t, c, err)
}

// Update does what it was asked to do when an operator takes a guard of the user's away meanwhile,
// and says that it has lost it. That of the Value itself it holds for a moment, and nobody takes it.
func TestUpdateLosesTheGuard(t *testing.T) {
	n := name(t)
	own1, err := value.Create(n, 1)
	_, err = own(t, own1, err).Update(background, func(x int) int {
		if err := psync.ForceUnlock(n); err == nil {
			t.Error("its own guard was taken away in Update")
		}
		return x + 1
	})
	verify.Must(t, err)

	dir := tmpfs(t)
	m, err := psync.CreateMutex("guard", psync.Options{Dir: dir})
	verify.Must(t, err)
	defer m.Close()
	c, err := value.Create("v", 1, value.Options{Dir: dir, Guard: m})
	v := own(t, c, err)
	x, err := v.Update(background, func(x int) int {
		verify.Must(t, psync.ForceUnlock("guard", psync.Options{Dir: dir}))
		return x + 1
	})
	if x != 2 || v.Load() != 2 || !errors.Is(err, psync.ErrLockLost) {
		t.Errorf("Update = %d, %v; the value is %d", x, err, v.Load())
	}
	if _, err := v.Update(background, func(x int) int { return x + 1 }); !errors.Is(err, psync.ErrOwnerDied) || v.Load() != 2 {
		t.Errorf("the next Update: %v; the value is %d", err, v.Load())
	}
	verify.Must(t, v.Mutex().Recover(background, nil))
}

// Who waits for a guard that stands elsewhere is told when the Value is closed; and a Close that
// was refused leaves everything as it was.
func TestCloseUnderAGuardOfOnesOwn(t *testing.T) {
	l, err := psync.NewFileLock(filepath.Join(t.TempDir(), "lock"))
	verify.Must(t, err)
	t.Cleanup(func() { verify.Must(t, l.Close()) })
	n := name(t)
	c, err := value.Create(n, 1, value.Options{Guard: l})
	own(t, c, err)
	v, err := value.Open[int](n) // with a FileLock of its own
	verify.Must(t, err)
	inc := func(x int) int { return x + 1 }

	verify.Must(t, v.Mutex().Lock(background))
	if err := v.Close(); !errors.Is(err, psync.ErrHeld) {
		t.Errorf("Close while its guard is held: %v", err)
	}
	verify.Must(t, v.Mutex().Unlock())
	if x, err := v.Update(background, inc); x != 2 || err != nil {
		t.Errorf("Update after a Close that was refused: %d, %v", x, err)
	}

	verify.Must(t, l.Lock(background))
	update := verify.Blocks(t, "Update", func() error { _, err := v.Update(background, inc); return err })
	verify.Must(t, v.Close())
	if err := update(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Update that waited when the Value was closed: %v", err)
	}
	if err := v.Mutex().Lock(background); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("the guard that came with the Value is not closed: %v", err)
	}
	verify.Must(t, l.Unlock())
}

func TestZeroValue(t *testing.T) {
	var v value.Value[int]
	verify.Must(t, v.Close())
	const text = "value: use of a Value that was not made by New, NewRaw, Create or Open"
	verify.Panics(t, text, func() { v.Mutex() })
	verify.Panics(t, text, func() { v.Name() })
	verify.Panics(t, text, func() { v.Update(background, func(x int) int { return x }) })
}

// A NaN, which is not equal to itself, is no reason for Update to find that the value has changed.
func TestUpdateOfNaN(t *testing.T) {
	c, err := value.New(sample{At: math.NaN()})
	v := own(t, c, err)
	w, err := value.New(math.NaN())
	word := own(t, w, err)
	done := make(chan error, 1)
	go func() {
		x, err := v.Update(background, func(s sample) sample { s.Total++; return s })
		if err == nil && x.Total != 1 {
			err = fmt.Errorf("Update returns %+v", x)
		}
		if err == nil {
			_, err = word.Update(background, func(float64) float64 { return 1 })
		}
		done <- err
	}()
	select {
	case err := <-done:
		verify.Must(t, err)
	case <-time.After(60 * time.Second):
		t.Fatal("Update does not come to an end")
	}
}
