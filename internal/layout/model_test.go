package layout_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/go-multiproc/multiproc/internal/layout"
)

// byteMap is the dull description of a type that layout texts compress: what
// each byte is, "" for padding.
func byteMap(t reflect.Type) []string {
	m := make([]string, t.Size())
	fill(m, t)
	return m
}

func fill(m []string, t reflect.Type) {
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); f.Name != "_" {
				fill(m[f.Offset:], f.Type)
			}
		}
	case reflect.Array:
		for i := range t.Len() {
			fill(m[i*int(t.Elem().Size()):], t.Elem())
		}
	default:
		for i := range int(t.Size()) {
			m[i] = fmt.Sprint(t.Kind(), i)
		}
	}
}

var scalars = []reflect.Type{
	reflect.TypeFor[bool](), reflect.TypeFor[int8](), reflect.TypeFor[uint8](), reflect.TypeFor[int16](),
	reflect.TypeFor[int32](), reflect.TypeFor[float32](), reflect.TypeFor[int64](), reflect.TypeFor[complex128](),
}

// randomType makes a type of few scalars, so that equal layouts are common.
func randomType(r *rand.Rand, depth int) reflect.Type {
	switch n := r.IntN(4); {
	case depth == 0 || n == 0:
		return scalars[r.IntN(3)]
	case n == 1:
		return reflect.ArrayOf(r.IntN(3), randomType(r, depth-1))
	default:
		fields := make([]reflect.StructField, r.IntN(4))
		for i := range fields {
			fields[i] = reflect.StructField{Name: string(rune('A' + i)), Type: randomType(r, depth-1)}
			if r.IntN(4) == 0 {
				fields[i].Type = scalars[r.IntN(len(scalars))]
			}
		}
		return reflect.StructOf(fields)
	}
}

// Equal texts must mean equal bytes, for types put together at random; and the
// padding must be what no field covers.
func TestTextAgainstByteMap(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	known := map[string][]string{}
	first := map[string]reflect.Type{}
	equal := 0
	for range 20000 {
		typ := randomType(r, 3)
		if typ.Size() == 0 {
			continue
		}
		lt, err := layout.Of(typ)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		m := byteMap(typ)
		if other, ok := known[lt.Text]; !ok {
			known[lt.Text], first[lt.Text] = m, typ
		} else if !slices.Equal(m, other) {
			t.Fatalf("seed %d: %v and %v both are %q", seed, typ, first[lt.Text], lt.Text)
		} else if first[lt.Text] != typ {
			equal++
		}
		for i, what := range m {
			inSpan := slices.ContainsFunc(lt.Padding, func(s layout.Span) bool { return s.From <= i && i < s.To })
			if inSpan != (what == "") {
				t.Fatalf("seed %d: %v: byte %d is %q, padding %v", seed, typ, i, what, lt.Padding)
			}
		}
	}
	if equal == 0 {
		t.Fatalf("seed %d: no two types were equal: the test compared nothing", seed)
	}
}
