package array_test

import (
	"context"
	"fmt"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/shm"
)

func Example() {
	a, err := array.Of[int32](0, 100, 200)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()

	// Any process that was given a may do the same.
	for i := range a.Len() {
		array.Add(a, i, 66)
	}
	fmt.Println(a.Slice())
	// Output: [66 166 266]
}

// Several elements that belong together change under the guard.
func ExampleArray_Do() {
	balances, err := array.Of(70.0, 30.0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer balances.Close()

	ctx := context.Background()
	err = balances.Do(ctx, func(b []float64) error {
		if b[0] < 50 {
			return fmt.Errorf("%v is not enough", b[0])
		}
		b[0] -= 50
		b[1] += 50
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println(balances.Snapshot(ctx))
	// Output: [20 80] <nil>
}

// A view of memory with a layout of its own: here, 16 bytes and then numbers.
func ExampleOver() {
	s, err := shm.New(16 + 3*8)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	copy(s.Bytes(), "header")

	a, err := array.Over[uint64](s, 16, 3)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()
	a.Store(2, 7)
	fmt.Println(s.Bytes()[32])
	// Output: 7
}
