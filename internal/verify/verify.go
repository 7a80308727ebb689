// Package verify has checks that the tests of several packages make.
//
// It is for tests only, and stands apart from reexec, which is about processes.
package verify

import (
	"fmt"
	"testing"
	"time"
)

const (
	// watched is how long a call that must block is looked at. A call that blocks
	// too late passes; one that must block and does is never failed.
	watched = 20 * time.Millisecond
	// patience is how long a call that must return is waited for.
	patience = 30 * time.Second
)

// Must ends the test if err is not nil.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Panics calls f, which must panic with a value that prints as text.
func Panics(t testing.TB, text string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if r := recover(); r == nil || fmt.Sprint(r) != text {
			t.Errorf("panic %v, want %q", r, text)
		}
	}()
	f()
}

// Blocks calls f in a goroutine, where it must not return yet, and gives back the
// function that waits for its result.
func Blocks(t testing.TB, what string, f func() error) (wait func() error) {
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
