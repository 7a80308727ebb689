package torture_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// keep closes an object at the end of the test.
func keep(t *testing.T, object interface{ Close() error }, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := object.Close(); err != nil {
			t.Errorf("closing a %T: %v", object, err)
		}
	})
}

// ignoreEnd turns the error of a process that was told to end into success.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// violated is the error of a process that found an invariant broken.
func violated(format string, args ...any) error {
	return fmt.Errorf("INVARIANT: "+format, args...)
}
