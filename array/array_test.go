package array_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/shm"
	"github.com/go-multiproc/multiproc/value"
)

type pair struct {
	A int64
	B int32
}

// check runs every access on an array of values that are all different, with its
// neighbours watched.
func check[T any](t *testing.T, xs ...T) {
	t.Helper()
	c, err := array.Of(xs...)
	a := own(t, c, err)
	want := slices.Clone(xs)
	same := func(what string) {
		t.Helper()
		for i, w := range want {
			if got := a.Load(i); !reflect.DeepEqual(got, w) {
				t.Errorf("%s: element %d is %v, want %v", what, i, got, w)
			}
		}
		snap, err := a.Snapshot(background)
		if err != nil || !reflect.DeepEqual(snap, want) {
			t.Errorf("%s: Snapshot = %v, %v", what, snap, err)
		}
		if !reflect.DeepEqual(a.Slice(), want) {
			t.Errorf("%s: Slice = %v, want %v", what, a.Slice(), want)
		}
		n := 0
		for i, x := range a.All() {
			if i != n || !reflect.DeepEqual(x, want[i]) {
				t.Errorf("%s: All gives %d, %v", what, i, x)
			}
			n++
		}
		if n != len(want) || a.Len() != len(want) {
			t.Errorf("%s: %d elements, Len %d, want %d", what, n, a.Len(), len(want))
		}
	}
	same("Of")
	for i := range want {
		j := (i + 1) % len(want)
		a.Store(i, xs[j])
		want[i] = xs[j]
		same("Store")
		if got := a.Swap(i, xs[i]); !reflect.DeepEqual(got, xs[j]) {
			t.Errorf("Swap = %v, want %v", got, xs[j])
		}
		want[i] = xs[i]
		same("Swap")
		if a.CompareAndSwap(i, xs[j], xs[j]) {
			t.Error("CompareAndSwap of another value succeeded")
		}
		if !a.CompareAndSwap(i, xs[i], xs[j]) {
			t.Error("CompareAndSwap of the value failed")
		}
		want[i] = xs[j]
		same("CompareAndSwap")
	}
	verify.Must(t, a.Do(background, func(s []T) error { s[0] = xs[0]; return nil }))
	want[0] = xs[0]
	same("Do")
}

func TestEveryType(t *testing.T) {
	t.Run("bool", func(t *testing.T) { check(t, true, false) })
	t.Run("uint8", func(t *testing.T) { check(t, 'a', 'b', 'c', byte(0), 255, 6, 7, 8, 9) })
	t.Run("int16", func(t *testing.T) { check(t, int16(-1), 2, math.MaxInt16, 4, 5) })
	t.Run("rune", func(t *testing.T) { check(t, '超', 'b', -1) })
	t.Run("int64", func(t *testing.T) { check(t, int64(66), 77, 88) })
	t.Run("float32", func(t *testing.T) { check(t, float32(1.5), -2) })
	t.Run("float64", func(t *testing.T) { check(t, math.Pi, math.Inf(-1), 0) })
	t.Run("complex128", func(t *testing.T) { check(t, 1i, 2, 3+4i) })
	t.Run("3 bytes", func(t *testing.T) { check(t, [3]byte{1, 2, 3}, [3]byte{4}, [3]byte{0, 0, 5}, [3]byte{9, 9, 9}) })
	t.Run("12 bytes", func(t *testing.T) { check(t, [3]int32{1, 2, 3}, [3]int32{4}, [3]int32{0, 0, 5}) })
	t.Run("padded", func(t *testing.T) { check(t, pair{1, 2}, pair{3, 4}, pair{-1, -1}) })
	t.Run("100 bytes", func(t *testing.T) { check(t, [100]byte{1}, [100]byte{99: 2}) })
	t.Run("one", func(t *testing.T) { check(t, pair{1, 2}, pair{3, 4}) })
}

func TestRefused(t *testing.T) {
	_, err := array.New[struct{ Names [2]string }](1)
	if err == nil || !strings.HasPrefix(err.Error(), "array: struct { Names [2]string }.Names[]: a string has no fixed size") {
		t.Errorf("strings: %v", err)
	}
	_, err = array.Of[any](1)
	if err == nil || !strings.HasPrefix(err.Error(), "array: interface {}: ") {
		t.Errorf("any: %v", err)
	}
	for _, n := range []int{-1, math.MinInt} {
		if _, err := array.New[int64](n); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("length %d: %v", n, err)
		}
	}
	for _, n := range []int{math.MaxInt, math.MaxInt / 8, 1 << 45} {
		if _, err := array.New[int64](n); !errors.Is(err, shm.ErrNoSpace) {
			t.Errorf("length %d: %v", n, err)
		}
	}
}

func TestEmpty(t *testing.T) {
	for _, c := range []func() (*array.Array[pair], error){
		func() (*array.Array[pair], error) { return array.New[pair](0) },
		func() (*array.Array[pair], error) { return array.Of[pair]() },
	} {
		made, err := c()
		a := own(t, made, err)
		if a.Len() != 0 || len(a.Slice()) != 0 {
			t.Errorf("Len %d", a.Len())
		}
		for range a.All() {
			t.Error("an element")
		}
		s, err := a.Snapshot(background)
		if len(s) != 0 || err != nil {
			t.Errorf("Snapshot = %v, %v", s, err)
		}
		verify.Panics(t, "runtime error: index out of range [0] with length 0", func() { a.Load(0) })
	}
}

func TestIndexOutOfRange(t *testing.T) {
	c, err := array.New[int64](3)
	a := own(t, c, err)
	verify.Panics(t, "runtime error: index out of range [3] with length 3", func() { a.Load(3) })
	verify.Panics(t, "runtime error: index out of range [-1]", func() { a.Store(-1, 0) })
	verify.Panics(t, "runtime error: index out of range [5] with length 3", func() { a.Swap(5, 0) })
	verify.Panics(t, "runtime error: index out of range [5] with length 3", func() { a.CompareAndSwap(5, 0, 0) })
	verify.Panics(t, "runtime error: index out of range [3] with length 3", func() { array.Add(a, 3, 1) })
}

func TestAllStops(t *testing.T) {
	c, err := array.Of(1, 2, 3)
	a := own(t, c, err)
	n := 0
	for range a.All() {
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("%d elements", n)
	}
}

// A counted is what the count helper is given.
type counted struct {
	Ints    *array.Array[int64]
	Bytes   *array.Array[uint8]
	Floats  *array.Array[float32]
	Guarded *array.Array[int32]
	Pairs   *array.Array[pair]
}

const each = 400

func countHelper(args []string) int {
	take[counted](args).count()
	return 0
}

func (c counted) count() {
	for n := range each {
		i := n % c.Ints.Len()
		array.Add(c.Ints, i, 1)
		array.Add(c.Bytes, i, 1)
		array.Add(c.Floats, i, 0.5)
		err := c.Guarded.Do(background, func(s []int32) error { s[i]++; return nil })
		if err != nil {
			panic(err)
		}
		for {
			p := c.Pairs.Load(i)
			if c.Pairs.CompareAndSwap(i, p, pair{p.A + 1, p.B + 1}) {
				break
			}
		}
	}
}

// Nothing is lost between goroutines and processes, nor among elements that share
// words and stripes.
func TestCountingTogether(t *testing.T) {
	const processes, goroutines, n = 3, 2, 5
	var c counted
	var err error
	c.Ints, err = array.New[int64](n)
	own(t, c.Ints, err)
	c.Bytes, err = array.New[uint8](n)
	own(t, c.Bytes, err)
	c.Floats, err = array.New[float32](n)
	own(t, c.Floats, err)
	c.Guarded, err = array.New[int32](n)
	own(t, c.Guarded, err)
	c.Pairs, err = array.New[pair](n)
	own(t, c.Pairs, err)
	var ps []*reexec.Process
	for range processes {
		ps = append(ps, start(t, "count", c))
	}
	var all sync.WaitGroup
	for range goroutines {
		all.Go(c.count)
	}
	all.Wait()
	for _, p := range ps {
		p.Done()
	}
	const want = (processes + goroutines) * each / n
	for i := range n {
		if got := c.Ints.Load(i); got != want {
			t.Errorf("Add: element %d is %d, want %d", i, got, want)
		}
		if got := c.Bytes.Load(i); got != uint8(want%256) {
			t.Errorf("Add of uint8: element %d is %d, want %d", i, got, want%256)
		}
		if got := c.Floats.Load(i); got != want/2 {
			t.Errorf("Add of float32: element %d is %v, want %v", i, got, want/2)
		}
		if got := c.Guarded.Load(i); got != want {
			t.Errorf("Do: element %d is %d, want %d", i, got, want)
		}
		if got := c.Pairs.Load(i); got != (pair{want, want}) {
			t.Errorf("CompareAndSwap of a struct: element %d is %v, want %d", i, got, want)
		}
	}
}

func TestDo(t *testing.T) {
	c, err := array.New[int32](3)
	a := own(t, c, err)
	oh := errors.New("oh")
	if err := a.Do(background, func(s []int32) error { s[1] = 5; return oh }); err != oh {
		t.Errorf("Do = %v, want f's own error", err)
	}
	if a.Load(1) != 5 {
		t.Error("what f wrote is not there")
	}
	verify.Panics(t, "oh", func() { a.Do(background, func([]int32) error { panic("oh") }) })
	left := make(chan struct{})
	go func() {
		defer close(left)
		a.Do(background, func([]int32) error { runtime.Goexit(); return nil })
	}()
	<-left
	verify.Must(t, a.Do(background, func(s []int32) error {
		if ok, err := a.Mutex().TryLock(); ok || err != nil {
			t.Errorf("TryLock in Do = %v, %v", ok, err)
		}
		if len(s) != 3 || cap(s) != 3 {
			t.Errorf("len %d, cap %d", len(s), cap(s))
		}
		return nil
	}))

	verify.Must(t, a.Mutex().Lock(background))
	ctx, cancel := context.WithCancel(background)
	do := verify.Blocks(t, "Do", func() error { return a.Do(ctx, func([]int32) error { return nil }) })
	snapshot := verify.Blocks(t, "Snapshot", func() error { _, err := a.Snapshot(ctx); return err })
	a.Store(0, 1) // takes no guard
	cancel()
	for what, err := range map[string]error{"Do": do(), "Snapshot": snapshot()} {
		if err != context.Canceled {
			t.Errorf("%s = %v, want the ctx's own error", what, err)
		}
	}
	verify.Must(t, a.Mutex().Unlock())
}

func TestSnapshotShowsNoHalfOfDo(t *testing.T) {
	c, err := array.New[uint16](1001)
	a := own(t, c, err)
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for n := uint16(0); ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := a.Do(background, func(s []uint16) error {
				for i := range s {
					s[i] = n
				}
				return nil
			}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 300 {
		s, err := a.Snapshot(background)
		if err != nil || s[0] != s[1000] || slices.Max(s) != slices.Min(s) {
			t.Errorf("half of a change: %d…%d, %v", s[0], s[1000], err)
			break
		}
	}
	close(stop)
	writer.Wait()
}

func TestRaw(t *testing.T) {
	c, err := array.NewRaw[pair](2)
	a := own(t, c, err)
	if m := a.Mutex(); m != nil {
		t.Errorf("Mutex() = %v", m)
	}
	verify.Must(t, a.Do(background, func(s []pair) error { s[1].A = 4; return nil }))
	s, err := a.Snapshot(background)
	if err != nil || s[1].A != 4 {
		t.Errorf("Snapshot = %v, %v", s, err)
	}
	ended, cancel := context.WithCancel(background)
	cancel()
	if err := a.Do(ended, func([]pair) error { t.Error("f was called"); return nil }); err != context.Canceled {
		t.Errorf("Do with an ended ctx = %v", err)
	}
}

func TestNamed(t *testing.T) {
	n := name(t)
	c, err := array.Create[pair](n, 5)
	a := own(t, c, err)
	a.Store(4, pair{7, 8})
	if _, err := array.Create[pair](n, 5); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second Create: %v", err)
	}
	type other struct {
		X int
		Y rune
	}
	o, err := array.Open[other](n)
	b := own(t, o, err)
	if b.Len() != 5 || b.Load(4) != (other{7, 8}) || b.Name() != n {
		t.Errorf("%d elements, the last %v, name %q", b.Len(), b.Load(4), b.Name())
	}
	if _, err := array.Open[int64](n); !errors.Is(err, shm.ErrType) {
		t.Errorf("Open of another type: %v", err)
	}
	if _, err := value.Open[pair](n); !errors.Is(err, shm.ErrType) {
		t.Errorf("Open as a Value: %v", err)
	}
	verify.Must(t, array.Remove(n))
	if _, err := array.Open[pair](n); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open after Remove: %v", err)
	}
}

func TestFileLockGuard(t *testing.T) {
	l, err := psync.NewFileLock(t.TempDir() + "/lock")
	verify.Must(t, err)
	t.Cleanup(func() { verify.Must(t, l.Close()) })
	n := name(t)
	c, err := array.Create[int64](n, 2, array.Options{Guard: l})
	a := own(t, c, err)
	o, err := array.Open[int64](n)
	b := own(t, o, err)
	verify.Must(t, b.Do(background, func(s []int64) error {
		if ok, err := a.Mutex().TryLock(); ok || err != nil {
			t.Errorf("TryLock in Do = %v, %v", ok, err)
		}
		return nil
	}))
}

// dieHelper dies in the middle of something.
func dieHelper(args []string) int {
	a := take[*array.Array[pair]](args)
	switch args[2] {
	case "Do":
		a.Do(background, func(s []pair) error {
			s[0].A = 1
			fmt.Println("inside")
			select {}
		})
	case "Mutex":
		if err := a.Mutex().Lock(background); err != nil {
			panic(err)
		}
		fmt.Println("inside")
	}
	select {}
}

func TestDeath(t *testing.T) {
	for _, where := range []string{"Do", "Mutex"} {
		t.Run(where, func(t *testing.T) {
			c, err := array.New[pair](3)
			a := own(t, c, err)
			p := start(t, "die", a, where)
			if got := p.Line(); got != "inside" {
				t.Fatal(got)
			}
			do := func() error { return a.Do(background, func(s []pair) error { s[0].B++; return nil }) }
			wait := verify.Blocks(t, "Do", do)
			p.Kill()
			_, err = a.Snapshot(background)
			for what, err := range map[string]error{"Do": wait(), "second Do": do(), "Snapshot": err} {
				if !errors.Is(err, psync.ErrOwnerDied) {
					t.Errorf("%s after the death = %v", what, err)
				}
			}
			a.Store(1, pair{2, 2}) // goes on
			verify.Must(t, a.Mutex().Recover(background, func() error { a.Store(0, pair{}); return nil }))
			verify.Must(t, do())
			s, err := a.Snapshot(background)
			if want := []pair{{0, 1}, {2, 2}, {}}; err != nil || !slices.Equal(s, want) {
				t.Errorf("in the end %v, %v; want %v", s, err, want)
			}
		})
	}
}

// stormHelper stores to its elements until it is killed.
func stormHelper(args []string) int {
	a := take[*array.Array[[5]int32]](args)
	fmt.Println("writing")
	for n := int32(0); ; n++ {
		a.Store(int(n)%a.Len(), [5]int32{n, n, n, n, n})
	}
}

func TestStormOfKills(t *testing.T) {
	c, err := array.New[[5]int32](7)
	a := own(t, c, err)
	var ps [2]*reexec.Process
	for i := range ps {
		ps[i] = start(t, "storm", a)
		ps[i].Line()
	}
	whole := func() {
		t.Helper()
		for range 2000 {
			for i, x := range a.All() {
				if x != [5]int32{x[0], x[0], x[0], x[0], x[0]} {
					t.Fatalf("element %d is torn: %v", i, x)
				}
			}
		}
	}
	for n := range 30 {
		whole()
		i := n % len(ps)
		ps[i].Kill()
		ps[i] = start(t, "storm", a)
		ps[i].Line()
	}
	for _, p := range ps {
		p.Kill()
	}
	whole()
	for i := range a.Len() {
		a.Store(i, [5]int32{})
	}
}

func TestClose(t *testing.T) {
	c, err := array.New[pair](3)
	verify.Must(t, err)
	words, err := array.New[int16](3)
	verify.Must(t, err)
	kept := words.Slice()
	keptPairs := c.Slice()
	keptPairs[1].A, kept[1] = 5, 5
	var fromDo []pair
	verify.Must(t, c.Do(background, func(s []pair) error { fromDo = s; return nil }))
	for range 2 {
		verify.Must(t, c.Close())
		verify.Must(t, words.Close())
	}
	const text = "array: use of closed Array"
	verify.Panics(t, text, func() { c.Load(0) })
	verify.Panics(t, text, func() { c.Store(0, pair{}) })
	verify.Panics(t, text, func() { c.Swap(0, pair{}) })
	verify.Panics(t, text, func() { c.CompareAndSwap(0, pair{}, pair{}) })
	verify.Panics(t, text, func() { c.Len() })
	verify.Panics(t, text, func() { c.Slice() })
	verify.Panics(t, text, func() {
		for range c.All() {
		}
	})
	verify.Panics(t, text, func() { words.Load(0) })
	verify.Panics(t, text, func() { array.Add(words, 0, 1) })
	_, err = c.Snapshot(background)
	for what, err := range map[string]error{
		"Snapshot": err, "Do": c.Do(background, func([]pair) error { return nil }), "Lock": c.Mutex().Lock(background),
	} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s after Close = %v", what, err)
		}
	}
	// What was kept reads zeros, and can be written to.
	if kept[1] != 0 || keptPairs[1].A != 0 || fromDo[1].A != 0 {
		t.Errorf("kept slices read %d, %d, %d", kept[1], keptPairs[1].A, fromDo[1].A)
	}
	runtime.GC()
	runtime.GC()
	kept[2], keptPairs[2].A = 6, 6
	if kept[2] != 6 || keptPairs[2].A != 6 {
		t.Error("a kept slice cannot be written to")
	}
}

// A slice outlives the Array that it is of.
func TestSliceOfUnreachable(t *testing.T) {
	s := func() []int64 {
		a, err := array.Of[int64](1, 2, 3)
		verify.Must(t, err)
		return a.Slice()
	}()
	for range 3 {
		runtime.GC()
		s[0]++ // must not fault, whatever it reads
	}
}

func TestCloseWaitsForDo(t *testing.T) {
	for guard, makeArray := range map[string]func(int) (*array.Array[int64], error){"own": array.New[int64], "none": array.NewRaw[int64]} {
		t.Run(guard, func(t *testing.T) {
			a, err := makeArray(3)
			verify.Must(t, err)
			inside, leave := make(chan struct{}), make(chan struct{})
			done := make(chan error, 1)
			go func() {
				done <- a.Do(background, func(s []int64) error {
					close(inside)
					<-leave
					if s[0]++; s[0] != 8 {
						return fmt.Errorf("the memory is gone: %d", s[0])
					}
					return nil
				})
			}()
			<-inside
			a.Store(0, 7)
			wait := verify.Blocks(t, "Close", a.Close)
			close(leave)
			verify.Must(t, <-done)
			verify.Must(t, wait())
		})
	}
}

func TestCloseWhileTheGuardIsHeld(t *testing.T) {
	a, err := array.New[int64](3)
	verify.Must(t, err)
	verify.Must(t, a.Mutex().Lock(background))
	if err := a.Close(); !errors.Is(err, psync.ErrHeld) {
		t.Errorf("Close = %v", err)
	}
	verify.Must(t, a.Mutex().Unlock())
	verify.Must(t, a.Close())
}
