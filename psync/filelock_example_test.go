package psync_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-multiproc/multiproc/psync"
)

// A shell script takes part with flock(1): flock /run/lock/tickets sell
func ExampleFileLock() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	l, err := psync.NewFileLock(filepath.Join(dir, "tickets.lock"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	if err := l.Lock(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("selling a ticket")
	fmt.Println(l.Unlock())
	// Output:
	// selling a ticket
	// <nil>
}
