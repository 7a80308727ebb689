//go:build linux

package process_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/process"
)

func init() {
	mains["starts children"] = func() int {
		fmt.Println("main")
		for began := time.Now(); time.Since(began) < 2*time.Second; {
			for range 4 {
				go func() {
					p := process.New(nothing, struct{}{})
					if p.Start() == nil {
						<-p.Done()
					}
				}()
			}
			p := process.New(nothing, struct{}{})
			if err := p.Start(); err != nil {
				return 1
			}
			<-p.Done()
		}
		return 0
	}
}

// A child whose parent is killed while it starts is still a child, and ends; it does not take itself for a program that somebody has started.
func TestParentKilledWhileStarting(t *testing.T) {
	for range 100 {
		cmd := program(t, "starts children")
		out := startProgram(t, cmd)
		out.next()
		time.Sleep(rand.N(10 * time.Millisecond)) // when it dies is to be random
		cmd.Process.Kill()
		out.end()
		cmd.Wait()
	}
}
