package pipe_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/go-multiproc/multiproc/pipe"
)

// Both ends in one process, to be short: b would be an argument of a process.
func Example() {
	a, b, err := pipe.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()

	go func() {
		defer b.Close()
		var numbers []int
		for b.Recv(&numbers) == nil {
			sum := 0
			for _, n := range numbers {
				sum += n
			}
			b.Send(fmt.Sprintf("%d numbers, %d in all", len(numbers), sum))
		}
	}()

	a.Send([]int{111, 222, 333})
	var answer string
	if err := a.Recv(&answer); err != nil {
		fmt.Println(err)
	}
	fmt.Println(answer)
	// Output: 3 numbers, 666 in all
}

func ExampleWait() {
	near := make([]*pipe.Conn, 3)
	for i := range near {
		var far *pipe.Conn
		near[i], far, _ = pipe.New()
		go func() { // a worker
			far.Send(i * i)
			far.Close()
		}()
	}
	sum := 0
	for left := near; len(left) > 0; {
		ready, err := pipe.Wait(context.Background(), left...)
		if err != nil {
			fmt.Println(err)
			return
		}
		left = nil
		for _, c := range near {
			var n int
			switch {
			case !contains(ready, c):
				left = append(left, c)
			case c.Recv(&n) == io.EOF:
				c.Close()
			default:
				sum += n
				left = append(left, c)
			}
		}
		near = left
	}
	fmt.Println(sum)
	// Output: 5
}

func contains(all []*pipe.Conn, c *pipe.Conn) bool {
	for _, x := range all {
		if x == c {
			return true
		}
	}
	return false
}

func ExampleListen() {
	dir, _ := os.MkdirTemp("", "")
	defer os.RemoveAll(dir)
	o := pipe.Options{AuthKey: []byte("secret")}
	l, err := pipe.Listen("unix", filepath.Join(dir, "socket"), o)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()

	go func() { // another process, most likely, and maybe Python
		c, err := pipe.Dial(context.Background(), "unix", l.Addr().String(), o)
		if err != nil {
			return
		}
		defer c.Close()
		c.Send([]int{111, 222, 333})
	}()

	c, err := l.Accept()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	var numbers []int
	err = c.Recv(&numbers)
	fmt.Println(numbers, err)
	// Output: [111 222 333] <nil>
}

// An end of a pipe that is sent through another has moved: what is behind it now talks to somebody else.
func ExampleConn_Send() {
	us, them, err := pipe.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer us.Close()
	defer them.Close()
	r, w, err := pipe.NewOneWay()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	type order struct {
		Text  string
		Reply *pipe.Conn
	}
	if err := us.Send(order{"tea", w}); err != nil { // w is closed here
		fmt.Println(err)
		return
	}

	// In the other process:
	var o order
	if err := them.Recv(&o); err != nil {
		fmt.Println(err)
		return
	}
	o.Reply.Send("your " + o.Text)
	o.Reply.Close()

	var reply string
	fmt.Println(r.Recv(&reply), reply)
	fmt.Println(r.Recv(&reply)) // the other process was the only one that had the end
	// Output:
	// <nil> your tea
	// EOF
}
