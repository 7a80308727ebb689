package layout_test

import (
	"fmt"

	"github.com/go-multiproc/multiproc/internal/layout"
)

func Example() {
	type Sample struct {
		At    float64
		Count int32
	}
	lt, _ := layout.For[Sample]()
	fmt.Println(lt.Text)

	type User struct {
		ID   int64
		Name string
	}
	_, err := layout.For[User]()
	fmt.Println(err)
	// Output:
	// 16{f64@0 i32@8}
	// User.Name: a string has no fixed size; use an array of bytes, such as [32]byte
}
