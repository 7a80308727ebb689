package manager_test

import (
	"testing"

	"github.com/go-multiproc/multiproc/manager"
)

type Width struct{ N int }

type Height struct{ N int }

type crate struct {
	Width
	Height
	Note string `json:"-"`
}

// A value comes out of a container as it went in, also with what JSON would leave out.
func TestValuesAreWhole(t *testing.T) {
	m, ctx := start(t, manager.Options{}), testContext(t)
	d := must[*manager.Dict[string, crate]](t)(manager.NewDict[string, crate](m))
	want := crate{Width{1}, Height{2}, "three"}
	check(t, d.Set(ctx, "a", want))
	if got, _, err := d.Get(ctx, "a"); got != want || err != nil {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}
