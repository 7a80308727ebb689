package array_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/verify"
)

func TestMain(m *testing.M) {
	reexec.Main(m, map[string]reexec.Helper{
		"count": countHelper, "die": dieHelper, "storm": stormHelper, "fill": fillHelper,
	})
}

var background = context.Background()

// own closes a at the end of the test.
func own[T any](t testing.TB, a *array.Array[T], err error) *array.Array[T] {
	t.Helper()
	verify.Must(t, err)
	t.Cleanup(func() { verify.Must(t, a.Close()) })
	return a
}

// name is one that no other test uses, removed at the end.
func name(t testing.TB) string {
	t.Helper()
	n := fmt.Sprintf("array-test-%d-%d", os.Getpid(), time.Now().UnixNano())
	t.Cleanup(func() { array.Remove(n) })
	return n
}

// take is what a helper was given by reexec.Give, in its first two arguments.
func take[T any](args []string) T {
	files, err := strconv.Atoi(args[1])
	if err != nil {
		panic(err)
	}
	var x T
	if err := reexec.Take(args[0], files, &x); err != nil {
		panic(err)
	}
	return x
}

// start runs a helper that is given x.
func start(t testing.TB, helper string, x any, args ...string) *reexec.Process {
	t.Helper()
	arg, files := reexec.Give(t, x)
	return reexec.Start(t, helper, files, append([]string{arg, strconv.Itoa(len(files))}, args...)...)
}
