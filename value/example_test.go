package value_test

import (
	"context"
	"fmt"

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
