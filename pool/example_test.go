//go:build linux

package pool_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/go-multiproc/multiproc/pool"
)

var cube = pool.Register(func(_ context.Context, n int) (int, error) { return n * n * n, nil })

// In a program of its own, main would be
//
//	func main() { process.Main(run) }
//
// and this would be run.
func Example() {
	ctx := context.Background()
	p, err := pool.New(pool.Options{Workers: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Terminate()

	cubes, err := cube.Map(ctx, p, []int{1, 2, 3, 4})
	fmt.Println(cubes, err)

	f, err := cube.Submit(ctx, p, 5)
	if err != nil {
		fmt.Println(err)
		return
	}
	n, err := f.Result(ctx)
	fmt.Println(n, err)
	// Output:
	// [1 8 27 64] <nil>
	// 125 <nil>
}

var crash = pool.Register(func(_ context.Context, n int) (int, error) {
	if n == 3 {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	return n, nil
})

// A worker that is killed fails the task that it was running, and no other.
func ExampleWorkerDiedError() {
	ctx := context.Background()
	p, err := pool.New(pool.Options{Workers: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Terminate()
	var fs []*pool.Future[int]
	for n := range 6 {
		f, err := crash.Submit(ctx, p, n)
		if err != nil {
			fmt.Println(err)
			return
		}
		fs = append(fs, f)
	}
	for _, f := range fs {
		n, err := f.Result(ctx)
		var dead *pool.WorkerDiedError
		if errors.As(err, &dead) {
			fmt.Println("its worker died:", dead.Signal)
			continue
		}
		fmt.Println(n, err)
	}
	// Output:
	// 0 <nil>
	// 1 <nil>
	// 2 <nil>
	// its worker died: killed
	// 4 <nil>
	// 5 <nil>
}

// An endless input is read as the results are taken.
func ExampleTask_IMap() {
	p := pool.NewGoroutines(4) // or pool.New: callers see no difference
	defer p.Terminate()
	numbers := func(yield func(int) bool) {
		for n := 1; yield(n); n++ {
		}
	}
	for c, err := range cube.IMap(context.Background(), p, numbers) {
		if err != nil || c > 100 {
			break
		}
		fmt.Println(c)
	}
	// Output:
	// 1
	// 8
	// 27
	// 64
}
