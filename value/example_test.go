package value_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/value"
)

func Example() {
	hits, err := value.New[int64](0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer hits.Close()

	// Any process that was given hits may do the same.
	value.Add(hits, 3)
	fmt.Println(hits.Load())
	// Output: 3
}

// Whatever a T is, as long as it has a fixed size and no pointers, it changes as a
// whole.
func ExampleValue_Update() {
	type account struct {
		Balance  float64
		Bookings int32
	}
	a, err := value.New(account{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()

	after, err := a.Update(context.Background(), func(a account) account {
		a.Balance += 9.5
		a.Bookings++
		return a
	})
	fmt.Println(after, err)
	// Output: {9.5 1} <nil>
}

// The error says which part of a type is at fault.
func ExampleNew_refused() {
	type user struct {
		ID   int64
		Name string
	}
	_, err := value.New(user{})
	fmt.Println(err)
	// Output: value: user.Name: a string has no fixed size; use an array of bytes, such as [32]byte
}

// A value that programs which are not related find by its name, and that shell scripts can lock out of, with flock(1).
func ExampleCreate() {
	dir, err := os.MkdirTemp("", "multiproc-example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	guard, err := psync.NewFileLock(filepath.Join(dir, "stock.lock"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer guard.Close()
	o := value.Options{Dir: dir, Guard: guard}
	stock, err := value.Create("stock", int64(10), o)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stock.Close()

	// In the other program:
	same, err := value.Open[int64]("stock", o)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer same.Close()
	left, err := same.Update(context.Background(), func(n int64) int64 { return max(0, n-3) })
	fmt.Println(left, stock.Load(), err)
	// Output: 7 7 <nil>
}
