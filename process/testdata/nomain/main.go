// Nomain is a program whose main calls neither process.Main nor, unless it is told to, process.Init.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/go-multiproc/multiproc/process"
)

var work = process.Register(func(context.Context, int) error { return nil })

func main() {
	if os.Getenv("CALL_INIT") != "" {
		process.Init()
	}
	p := process.New(work, 1)
	p.Env = []string{} // the child calls nothing in any case
	err := p.Start()
	if errors.Is(err, process.ErrNoMain) {
		fmt.Println("no main:", err)
		return
	}
	fmt.Println("start:", err)
	fmt.Println("join:", p.Join(context.Background()))
}
