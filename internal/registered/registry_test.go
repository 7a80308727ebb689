package registered_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/internal/registered"
)

type thing struct{}

func (thing) method(int) {}

func first(int)   {}
func other(int)   {}
func text(string) {}

var (
	words  = registered.Words{Package: "kitchen", What: "cup", Here: "the cook", There: "the guest", Name: "kitchen.RegisterName"}
	number = reflect.TypeFor[int]()
)

// entered is a registry with some of everything.
func entered() *registered.Registry[string] {
	r := &registered.Registry[string]{Words: words, Begun: func() bool { return false }}
	r.Register("", first, number, nil, "first")
	r.Register("", other, number, nil, "other 1")
	r.Register("named", other, number, nil, "named")
	r.Register("", text, reflect.TypeFor[string](), reflect.TypeFor[thing](), "text")
	r.Register("", other, number, nil, "other 2")
	return r
}

const here = "github.com/go-multiproc/multiproc/internal/registered_test."

// What one process calls a registration, another one finds.
func TestIdentities(t *testing.T) {
	ours, theirs := entered(), entered()
	want := []struct{ words, value string }{
		{"cup " + here + "first(int)", "first"},
		{"cup " + here + "other(int) (1 of 2)", "other 1"},
		{"cup registered as named(int)", "named"},
		{"cup " + here + "text(string) " + here + "thing", "text"},
		{"cup " + here + "other(int) (2 of 2)", "other 2"},
	}
	i := 0
	for e, id := range ours.All() {
		if got := words.String(id); got != want[i].words || e.Index != i || id != ours.Identify(e) || e.Name() != id.Name {
			t.Errorf("number %d: %q of index %d, %+v", i, got, e.Index, id)
		}
		if found, err := theirs.Find(id); err != nil || found.Value != want[i].value || found.Index != i {
			t.Errorf("%s: found %+v, %v", want[i].words, found, err)
		}
		i++
	}
	if i != len(want) {
		t.Errorf("%d registrations", i)
	}
	for range ours.All() { // who stops early is asked no further
		break
	}
}

// Processes that have registered different things do not take one for the other, and say what to do.
func TestFindRefuses(t *testing.T) {
	r := entered()
	for name, c := range map[string]struct {
		id   registered.Identity
		says []string
	}{
		"not there":           {registered.Identity{Name: here + "gone", In: "int", K: 1, N: 1}, []string{"is not registered in the guest", "under no condition that differs between cook and guest"}},
		"another argument":    {registered.Identity{Name: here + "first", In: "string", K: 1, N: 1}, []string{"is not registered"}},
		"another result":      {registered.Identity{Name: here + "first", In: "int", Out: "int", K: 1, N: 1}, []string{"is not registered"}},
		"a symbol, not named": {registered.Identity{Name: "named", In: "int", K: 1, N: 1}, []string{"is not registered"}},
		"more often here":     {registered.Identity{Name: here + "other", In: "int", K: 1, N: 1}, []string{"is registered 2 times in the guest", "give each a name with kitchen.RegisterName"}},
		"less often here":     {registered.Identity{Name: here + "first", In: "int", K: 2, N: 2}, []string{"is registered 1 times"}},
		"no such number":      {registered.Identity{Name: here + "other", In: "int", K: 3, N: 2}, []string{"is registered 2 times"}},
		"the number 0":        {registered.Identity{Name: here + "other", In: "int", K: 0, N: 2}, []string{"is registered 2 times"}},
	} {
		e, err := r.Find(c.id)
		if e != nil || err == nil {
			t.Errorf("%s: found %+v", name, e)
			continue
		}
		for _, says := range c.says {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %q does not say %q", name, err, says)
			}
		}
	}
}

// Register panics, with what to do, where another process could not find the function.
func TestRegisterPanics(t *testing.T) {
	late := &registered.Registry[string]{Words: words, Begun: func() bool { return true }}
	for name, c := range map[string]struct {
		registry *registered.Registry[string]
		name     string
		fn       any
		says     string
	}{
		"nil":          {entered(), "", (func(int))(nil), "kitchen: cannot register a nil function"},
		"method value": {entered(), "", thing{}.method, "its receiver does not exist in the guest; register a function that takes the receiver as its argument"},
		"name twice":   {entered(), "named", first, `two cups are registered as "named"`},
		"too late":     {late, "", first, "where a guest never comes; register it in a package-level variable"},
	} {
		func() {
			defer func() {
				if v, _ := recover().(string); !strings.HasPrefix(v, "kitchen: ") || !strings.Contains(v, c.says) {
					t.Errorf("%s: %q", name, v)
				}
			}()
			c.registry.Register(c.name, c.fn, number, nil, "")
			t.Errorf("%s: no panic", name)
		}()
	}
	// A method expression has its receiver as the argument, and a name may be that of a symbol.
	r := entered()
	r.Register("", thing.method, reflect.TypeFor[thing](), nil, "")
	r.Register(here+"first", other, number, nil, "")
	var values []string
	for e := range r.All() {
		values = append(values, e.Value)
	}
	if !slices.Contains(values, "first") || len(values) != 7 {
		t.Errorf("%q", values)
	}
}
