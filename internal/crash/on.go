//go:build multiproc_crash

package crash

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// EnvVar names the label and the pass at which the process dies: "label:n".
const EnvVar = "MULTIPROC_CRASH"

var (
	victim string
	left   atomic.Int64
)

func init() {
	label, n, ok := strings.Cut(os.Getenv(EnvVar), ":")
	if !ok {
		return
	}
	pass, err := strconv.ParseInt(n, 10, 64)
	if err != nil || pass < 1 {
		panic("crash: " + EnvVar + " is not label:n with n from 1")
	}
	victim = label
	left.Store(pass)
}

// At kills the process if label's turn has come.
func At(label string) {
	if label == victim && left.Add(-1) == 0 {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way; do no further step
	}
}
