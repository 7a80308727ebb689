package torture_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/process"
)

// acts is how many there are, which share the kills.
const acts = 8

var (
	kills = 480 / acts // in each act
	seed  uint64
)

// In a process that a test started, Init runs its function and does not return.
func TestMain(m *testing.M) {
	// With the race detector every process sleeps for a second at its end, unless told not to.
	if race := os.Getenv("GORACE"); !strings.Contains(race, "atexit_sleep_ms") {
		os.Setenv("GORACE", strings.TrimSpace(race+" atexit_sleep_ms=0"))
	}
	process.Init()
	seed = rand.Uint64()
	if s := os.Getenv("SEED"); s != "" {
		seed = uint64(number("SEED", s))
	}
	if s := os.Getenv("KILLS"); s != "" {
		kills = (number("KILLS", s) + acts - 1) / acts
	}
	os.Exit(m.Run())
}

func number(name, s string) int {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s=%s is not a number\n", name, s)
		os.Exit(2)
	}
	return int(n)
}
