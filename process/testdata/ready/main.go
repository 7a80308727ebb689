// Command ready has a child that waits for a job. It prints the child's process id and waits for the end of its standard input.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-multiproc/multiproc/process"
)

var _ = process.Register(func(context.Context, struct{}) error { return nil })

func main() { process.Main(run) }

func run() int {
	process.SetForkServer(process.ForkServerOptions{Warm: 1, MaxIdle: -1})
	if err := process.WarmUp(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, path := range tasks {
		if b, _ := os.ReadFile(path); len(b) > 0 {
			fmt.Fprintln(os.Stderr, strings.TrimSpace(string(b)))
		}
	}
	os.Stdin.Read(make([]byte, 1))
	return 0
}
