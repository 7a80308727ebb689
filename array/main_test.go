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
)

func TestMain(m *testing.M) {
	reexec.Main(m, map[string]reexec.Helper{
		"count": countHelper, "die": dieHelper, "storm": stormHelper, "fill": fillHelper,
	})
}

var background = context.Background()

// patience is how long something that must happen is waited for, watched how long
// a call that must block is looked at.
const (
	patience = 20 * time.Second
	watched  = 20 * time.Millisecond
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// own closes a at the end of the test.
func own[T any](t testing.TB, a *array.Array[T], err error) *array.Array[T] {
	t.Helper()
	must(t, err)
	t.Cleanup(func() { must(t, a.Close()) })
	return a
}

// name is one that no other test uses, removed at the end.
func name(t testing.TB) string {
	t.Helper()
	n := fmt.Sprintf("array-test-%d-%d", os.Getpid(), time.Now().UnixNano())
	t.Cleanup(func() { array.Remove(n) })
	return n
}

// mustPanic calls f, which must panic with that text.
func mustPanic(t *testing.T, text string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if r := recover(); fmt.Sprint(r) != text {
			t.Errorf("panic %v, want %q", r, text)
		}
	}()
	f()
}

// mustBlock runs f, which must not return yet, and gives back the function that
// waits for its result.
func mustBlock(t *testing.T, what string, f func() error) (wait func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		t.Fatalf("%s returned %v; it must wait", what, err)
	case <-time.After(watched):
	}
	return func() error {
		t.Helper()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			t.Fatalf("%s still waits", what)
			return nil
		}
	}
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
