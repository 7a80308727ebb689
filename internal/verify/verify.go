// Package verify has checks that the tests of several packages make.
//
// It is for tests only, and stands apart from reexec, which is about processes.
package verify

import (
	"fmt"
	"testing"
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
