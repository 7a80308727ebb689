package tests_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/process"
)

// roles are what this program does instead of testing when a variable of its environment says so. They return
// only when they fail.
var roles = map[string]func() error{}

// In a child that a test started, Init runs the child's function and does not return.
func TestMain(m *testing.M) {
	// With the race detector every process sleeps for a second at its end, unless told not to.
	if race := os.Getenv("GORACE"); !strings.Contains(race, "atexit_sleep_ms") {
		os.Setenv("GORACE", strings.TrimSpace(race+" atexit_sleep_ms=0"))
	}
	for marker, play := range roles {
		if os.Getenv(marker) != "" {
			fmt.Fprintln(os.Stderr, play())
			os.Exit(1)
		}
	}
	process.Init()
	os.Exit(run(m))
}

// buildDir is where programs are built that several tests run.
var buildDir string

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "built")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	buildDir = dir
	return m.Run()
}
