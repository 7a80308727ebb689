package array_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
)

// CompareAndSwap compares as == does, and not bytes.
func TestCompareAndSwapComparesValues(t *testing.T) {
	c, err := array.Of(math.NaN(), math.Copysign(0, -1))
	words := own(t, c, err)
	if words.CompareAndSwap(0, math.NaN(), 1) {
		t.Error("NaN was equal to NaN")
	}
	if !words.CompareAndSwap(1, 0, 1) {
		t.Error("-0 was not equal to 0")
	}
	type sample struct {
		At    float64
		Count int64
	}
	d, err := array.Of(sample{At: math.NaN()}, sample{At: math.Copysign(0, -1)})
	large := own(t, d, err)
	if large.CompareAndSwap(0, sample{At: math.NaN()}, sample{}) {
		t.Error("NaN was equal to NaN in a struct")
	}
	if !large.CompareAndSwap(1, sample{}, sample{Count: 1}) {
		t.Error("-0 was not equal to 0 in a struct")
	}
}

// These have padding, and arrays in them: Go passes such structs in memory, with the padding.
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
	check := func(what string, a *array.Array[T]) {
		t.Helper()
		b := bytesOf(a.Slice())
		b = b[len(b)/2:] // the second element
		if b[0] == 0 {
			t.Errorf("%s changed nothing", what)
		}
		for _, at := range padding {
			if b[at] != 0 {
				t.Errorf("after %s: % x", what, b)
				break
			}
		}
		var zero T
		a.Store(1, zero)
	}
	c, err := array.Of(dirty[T](2)...)
	a := own(t, c, err)
	check("Of", a)
	a.Store(1, dirty[T](1)[0])
	check("Store", a)
	a.Swap(1, dirty[T](1)[0])
	check("Swap", a)
	if !a.CompareAndSwap(1, a.Load(1), dirty[T](1)[0]) {
		t.Error("CompareAndSwap failed")
	}
	check("CompareAndSwap", a)
}

// A panic in Do goes on, and leaves the guard free.
func TestDoPanics(t *testing.T) {
	c, err := array.New[int64](1)
	a := own(t, c, err)
	verify.Panics(t, "mine", func() {
		a.Do(background, func(s []int64) error {
			s[0] = 1
			panic("mine")
		})
	})
	if ok, err := a.Mutex().TryLock(); !ok || err != nil {
		t.Fatalf("the guard is not free: %v, %v", ok, err)
	}
	verify.Must(t, a.Mutex().Unlock())
	mine := errors.New("mine")
	if err := a.Do(background, func([]int64) error { return mine }); err != mine {
		t.Errorf("Do returns %v, not the function's error", err)
	}
}

// Do and Snapshot say that an operator took the guard away meanwhile; the function's own error
// comes first.
func TestDoLosesTheGuard(t *testing.T) {
	n := name(t)
	c, err := array.Create[int64](n, 1)
	a := own(t, c, err)
	mine := errors.New("mine")
	for _, test := range []struct{ own, want error }{{nil, psync.ErrLockLost}, {mine, mine}} {
		err := a.Do(background, func(s []int64) error {
			s[0]++
			verify.Must(t, psync.ForceUnlock(n))
			return test.own
		})
		if !errors.Is(err, test.want) {
			t.Errorf("Do = %v, want %v", err, test.want)
		}
		if err := a.Do(background, func([]int64) error { panic("called") }); !errors.Is(err, psync.ErrOwnerDied) {
			t.Errorf("the next Do = %v", err)
		}
		if _, err := a.Snapshot(background); !errors.Is(err, psync.ErrOwnerDied) {
			t.Errorf("Snapshot = %v", err)
		}
		verify.Must(t, a.Mutex().Recover(background, nil))
	}
	if a.Load(0) != 2 {
		t.Errorf("%d calls", a.Load(0))
	}
}

// A named Array has the mode that was asked for, whatever the umask; and one of another user is
// opened only by those who say that they know.
func TestOptions(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir, err := os.MkdirTemp("/dev/shm", "array-test-")
	verify.Must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, test := range []struct{ ask, want fs.FileMode }{{0, 0o600}, {0o640, 0o640}} {
		name := fmt.Sprintf("a%o", test.ask)
		c, err := array.Create[int](name, 1, array.Options{Dir: dir, Mode: test.ask})
		own(t, c, err)
		st, err := os.Stat(filepath.Join(dir, name))
		verify.Must(t, err)
		if st.Mode().Perm() != test.want {
			t.Errorf("Mode %o: %o, want %o", test.ask, st.Mode().Perm(), test.want)
		}
		if _, err := array.Open[int](name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("opened in another directory: %v", err)
		}
	}
	if os.Getuid() != 0 {
		return // only root can give files away
	}
	verify.Must(t, os.Chown(filepath.Join(dir, "a0"), 65534, 65534))
	if _, err := array.Open[int]("a0", array.Options{Dir: dir}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("another user's: %v", err)
	}
	c, err := array.Open[int]("a0", array.Options{Dir: dir, AnyOwner: true})
	own(t, c, err)
}

func TestZeroArray(t *testing.T) {
	var a array.Array[int]
	verify.Must(t, a.Close())
	const text = "array: use of an Array that was not made by New, NewRaw, Of, Create, Open or Over"
	for what, f := range map[string]func(){
		"Len": func() { a.Len() }, "Mutex": func() { a.Mutex() }, "Name": func() { a.Name() },
		"Do": func() { a.Do(background, func([]int) error { return nil }) }, "Snapshot": func() { a.Snapshot(background) },
		"All": func() {
			for range a.All() {
			}
		},
	} {
		t.Run(what, func(t *testing.T) { verify.Panics(t, text, f) })
	}
	if _, err := array.Over[int](nil, 0, 1); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Over no segment: %v", err)
	}
}
