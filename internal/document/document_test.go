package document_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/codec"
	"github.com/go-multiproc/multiproc/internal/detector"
	"github.com/go-multiproc/multiproc/internal/document"
)

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := codec.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode(t testing.TB, b []byte) (v any) {
	t.Helper()
	if len(b) == 0 {
		return nil
	}
	if err := codec.Unmarshal(b, &v); err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	return v
}

func path(t testing.TB, steps ...any) document.Path {
	t.Helper()
	p := document.Path{}
	for _, s := range steps {
		p = append(p, encode(t, s))
	}
	return p
}

type m = map[string]any

func TestChanges(t *testing.T) {
	doc := m{"a": m{"b": []any{int64(1), int64(2), int64(3)}, "n": nil}, "s": "text", "x": 1.5}
	long := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	for _, c := range []struct {
		name string
		doc  any
		do   func(doc []byte) ([]byte, error)
		want any
		err  error
	}{
		{"set an element", doc, func(d []byte) ([]byte, error) { return document.Set(d, path(t, "a", "b", -1), encode(t, "z")) },
			m{"a": m{"b": []any{int64(1), int64(2), "z"}, "n": nil}, "s": "text", "x": 1.5}, nil},
		{"set a new key", doc, func(d []byte) ([]byte, error) { return document.Set(d, path(t, "a", "c"), encode(t, 7)) },
			m{"a": m{"b": []any{int64(1), int64(2), int64(3)}, "n": nil, "c": int64(7)}, "s": "text", "x": 1.5}, nil},
		{"set below a null", m{"n": nil}, func(d []byte) ([]byte, error) { return document.Set(d, path(t, "n", "k", "l"), encode(t, 7)) },
			m{"n": m{"k": m{"l": int64(7)}}}, nil},
		{"set below a missing key", m{}, func(d []byte) ([]byte, error) { return document.Set(d, path(t, "n", "k"), encode(t, 7)) },
			m{"n": m{"k": int64(7)}}, nil},
		{"set all", doc, func(d []byte) ([]byte, error) { return document.Set(d, nil, encode(t, 7)) }, int64(7), nil},
		{"set beyond an array", doc, func(d []byte) ([]byte, error) { return document.Set(d, path(t, "a", "b", 3), encode(t, 7)) }, nil, document.ErrRange},
		{"set in a string", doc, func(d []byte) ([]byte, error) { return document.Set(d, path(t, "s", "b"), encode(t, 7)) }, nil, document.ErrType},
		{"set a key of an array", doc, func(d []byte) ([]byte, error) { return document.Set(d, path(t, "a", "b", "c"), encode(t, 7)) }, nil, document.ErrType},
		{"set to two items", doc, func(d []byte) ([]byte, error) { return document.Set(d, path(t, "s"), []byte{1, 1}) }, nil, document.ErrMalformed},
		{"a step of no item", doc, func(d []byte) ([]byte, error) { return document.Set(d, document.Path{{}}, []byte{1}) }, nil, document.ErrMalformed},
		{"the 24th key", twenty(23), func(d []byte) ([]byte, error) { return document.Set(d, path(t, "z"), encode(t, 7)) },
			func() any { all := twenty(23); all["z"] = int64(7); return all }(), nil},
		{"delete an element", doc, func(d []byte) ([]byte, error) { d, _, err := document.Delete(d, path(t, "a", "b", 0)); return d, err },
			m{"a": m{"b": []any{int64(2), int64(3)}, "n": nil}, "s": "text", "x": 1.5}, nil},
		{"delete a key", twenty(24), func(d []byte) ([]byte, error) { d, _, err := document.Delete(d, path(t, "0")); return d, err },
			func() any { all := twenty(24); delete(all, "0"); return all }(), nil},
		{"delete nothing", m{"a": nil}, func(d []byte) ([]byte, error) {
			d, existed, err := document.Delete(d, path(t, "a", "b"))
			if existed {
				t.Error("it existed")
			}
			return d, err
		}, m{"a": nil}, nil},
		{"append", doc, func(d []byte) ([]byte, error) {
			d, _, err := document.Append(d, path(t, "a", "b"), encode(t, []any{4, "x"}))
			return d, err
		},
			m{"a": m{"b": []any{int64(1), int64(2), int64(3), int64(4), "x"}, "n": nil}, "s": "text", "x": 1.5}, nil},
		{"append to null", m{"n": nil}, func(d []byte) ([]byte, error) {
			d, _, err := document.Append(d, path(t, "n"), encode(t, []int{1}))
			return d, err
		},
			m{"n": []any{int64(1)}}, nil},
		{"append to a typed array", m{"n": long}, func(d []byte) ([]byte, error) {
			d, _, err := document.Append(d, path(t, "n"), encode(t, long))
			return d, err
		},
			m{"n": numbers(append(slices.Clone(long), long...))}, nil},
		{"set in a typed array", m{"n": long}, func(d []byte) ([]byte, error) { return document.Set(d, path(t, "n", 9), encode(t, 100)) },
			m{"n": numbers(append(slices.Clone(long[:9]), 100))}, nil},
		{"append an array that is too short", m{}, func(d []byte) ([]byte, error) {
			d, _, err := document.Append(d, path(t, "n"), []byte{0x82, 1})
			return d, err
		},
			nil, document.ErrMalformed},
		{"append to a string", doc, func(d []byte) ([]byte, error) {
			d, _, err := document.Append(d, path(t, "s"), encode(t, []int{1}))
			return d, err
		},
			nil, document.ErrType},
		{"append a map", m{}, func(d []byte) ([]byte, error) {
			d, _, err := document.Append(d, path(t, "s"), encode(t, m{}))
			return d, err
		},
			nil, document.ErrType},
		{"add", doc, func(d []byte) ([]byte, error) {
			d, _, err := document.Add(d, path(t, "a", "b", 1), document.Int8, encode(t, -5))
			return d, err
		},
			m{"a": m{"b": []any{int64(1), int64(-3), int64(3)}, "n": nil}, "s": "text", "x": 1.5}, nil},
		{"add to nothing", m{}, func(d []byte) ([]byte, error) {
			d, _, err := document.Add(d, path(t, "a"), document.Uint8, encode(t, 255))
			return d, err
		},
			m{"a": int64(255)}, nil},
		{"add to the whole", 7, func(d []byte) ([]byte, error) {
			d, _, err := document.Add(d, nil, document.Float64, encode(t, 0.5))
			return d, err
		}, 7.5, nil},
		{"add an integer to a floating-point number", doc, func(d []byte) ([]byte, error) {
			d, _, err := document.Add(d, path(t, "x"), document.Int64, encode(t, 1))
			return d, err
		},
			nil, document.ErrType},
		{"add to a string", doc, func(d []byte) ([]byte, error) {
			d, _, err := document.Add(d, path(t, "s"), document.Int64, encode(t, 1))
			return d, err
		},
			nil, document.ErrType},
		{"add an unknown type", m{}, func(d []byte) ([]byte, error) {
			d, _, err := document.Add(d, path(t, "s"), 11, encode(t, 1))
			return d, err
		},
			nil, document.ErrType},
		{"add beyond", 127, func(d []byte) ([]byte, error) {
			d, _, err := document.Add(d, nil, document.Int8, encode(t, 1))
			return d, err
		}, nil, document.ErrOverflow},
		{"add below", 0, func(d []byte) ([]byte, error) {
			d, _, err := document.Add(d, nil, document.Uint64, encode(t, -1))
			return d, err
		}, nil, document.ErrOverflow},
		{"a path into what is no CBOR", codec.Marshal, nil, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.do == nil {
				if _, _, err := document.Get([]byte{0x82, 1}, path(t, 1)); !errors.Is(err, document.ErrMalformed) {
					t.Errorf("%v", err)
				}
				return
			}
			before := encode(t, c.doc)
			kept := slices.Clone(before)
			got, err := c.do(before)
			if !errors.Is(err, c.err) {
				t.Fatalf("%v, want %v", err, c.err)
			}
			if !slices.Equal(before, kept) {
				t.Error("it was changed in place")
			}
			if err == nil && !reflect.DeepEqual(decode(t, got), c.want) {
				t.Errorf("%v, want %v", decode(t, got), c.want)
			}
		})
	}
}

func twenty(n int) m {
	all := m{}
	for i := range n {
		all[fmt.Sprint(i)] = int64(i)
	}
	return all
}

func numbers(v []int) (all []any) {
	for _, n := range v {
		all = append(all, int64(n))
	}
	return all
}

// Items of indefinite length, which other encoders write.
func TestIndefinite(t *testing.T) {
	doc := []byte("\xbf\x61a\x9f\x01\x02\xff\x61b\x7f\x61x\x61y\xff\xff") // {"a": [1, 2], "b": "xy"}
	if !document.Equal(doc, encode(t, m{"b": "xy", "a": []int{1, 2}})) {
		t.Error("not equal to one of definite length")
	}
	var err error
	for _, change := range []func() error{
		func() error { doc, err = document.Set(doc, path(t, "c"), encode(t, 3)); return err },
		func() error { doc, _, err = document.Append(doc, path(t, "a"), encode(t, []int{9})); return err },
		func() error { doc, _, err = document.Delete(doc, path(t, "a", 0)); return err },
		func() error { doc, _, err = document.Delete(doc, path(t, "b")); return err },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := decode(t, doc), (m{"a": []any{int64(2), int64(9)}, "c": int64(3)}); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// Random changes do to an encoded value what they do to the value.
func TestAgainstGo(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	var random func(depth int) any
	random = func(depth int) any {
		switch n := r.IntN(6); {
		case n == 0 && depth > 0:
			a := make([]any, r.IntN(30))
			for i := range a {
				a[i] = random(depth - 1)
			}
			return a
		case n <= 2 && depth > 0:
			all := m{}
			for range r.IntN(30) {
				all[fmt.Sprint(r.IntN(40))] = random(depth - 1)
			}
			return all
		case n == 3:
			return fmt.Sprint(r.Uint64())
		}
		return r.Int64()
	}
	for range 300 {
		v := random(4)
		doc := encode(t, v)
		// A path that leads somewhere, and the value there.
		var p document.Path
		at, set := v, func(x any) { v = x }
		var remove func()
		for r.IntN(4) > 0 {
			switch c := at.(type) {
			case m:
				if len(c) == 0 {
					break
				}
				k := slices.Collect(maps.Keys(c))[r.IntN(len(c))]
				p = append(p, encode(t, k))
				at, set, remove = c[k], func(x any) { c[k] = x }, func() { delete(c, k) }
				continue
			case []any:
				if len(c) == 0 {
					break
				}
				i := r.IntN(len(c))
				p = append(p, encode(t, i-len(c)*r.IntN(2)))
				old := set
				at, set, remove = c[i], func(x any) { c[i] = x }, func() { old(slices.Delete(slices.Clone(c), i, i+1)) }
				continue
			}
			break
		}
		item, ok, err := document.Get(doc, p)
		if !ok || err != nil || !reflect.DeepEqual(decode(t, item), at) {
			t.Fatalf("seed %d: Get %v of %v = %x, %v, %v", seed, p, v, item, ok, err)
		}
		if remove != nil && r.IntN(2) == 0 {
			remove()
			doc, ok, err = document.Delete(doc, p)
			if !ok {
				t.Fatalf("seed %d: nothing deleted", seed)
			}
		} else {
			x := random(2)
			set(x)
			doc, err = document.Set(doc, p, encode(t, x))
		}
		if err != nil || !reflect.DeepEqual(decode(t, doc), v) {
			t.Fatalf("seed %d: now %v, %v, want %v", seed, decode(t, doc), err, v)
		}
		if again := encode(t, v); !document.Equal(doc, again) || !document.Match(doc).Equal(string(again)) {
			t.Fatalf("seed %d: %x and %x are not equal", seed, doc, again)
		}
	}
}

func TestEqual(t *testing.T) {
	deep := func(n int, last byte) []byte { return append(slices.Repeat([]byte{0x81}, n), last) }
	for _, c := range []struct {
		name string
		a, b []byte
		want bool
	}{
		{"heads of any width", []byte{0x01}, []byte{0x18, 0x01}, true},
		{"strings with heads of any width", []byte("\x61a"), []byte("\x78\x01a"), true},
		{"other strings", []byte("\x61a"), []byte("\x78\x01b"), false},
		{"text and bytes", []byte("\x61a"), []byte("\x41a"), false},
		{"integer and floating point", encode(t, 1), encode(t, 1.0), false},
		{"NaN", encode(t, math.NaN()), encode(t, math.NaN()), true},
		{"0 and -0", encode(t, 0.0), encode(t, math.Copysign(0, -1)), false},
		{"maps in another order", []byte("\xa2\x01\x02\x03\x04"), []byte("\xa2\x03\x04\x01\x02"), true},
		{"maps in another order, inside", []byte("\x81\xa2\x01\x02\x03\x04"), []byte("\x9f\xbf\x03\x04\x01\x02\xff\xff"), true},
		{"other maps", []byte("\xa2\x01\x02\x03\x04"), []byte("\xa2\x03\x02\x01\x04"), false},
		{"a typed array", encode(t, []int64{1, 2, 3, 4, 5, 6, 7, 8}), encode(t, []any{1, 2, 3, 4, 5, 6, 7, 8}), true},
		{"tags", []byte("\xc0\x61a"), []byte("\xc1\x61a"), false},
		{"no item", []byte{0x82, 1}, []byte{0x82, 1}, true},
		{"no items", []byte{0x82, 1}, []byte{0x98, 2, 1}, false},
		{"deep", deep(900, 1), append(deep(900, 0x18), 1), true},
		{"too deep", deep(2000, 1), append(deep(2000, 0x18), 1), false},
		{"very deep", deep(1<<20, 1), deep(1<<20, 1), true},
		{"nothing", nil, []byte{1}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := document.Equal(c.a, c.b); got != c.want {
				t.Errorf("Equal = %v", got)
			}
			if got := document.Equal(c.b, c.a); got != c.want {
				t.Errorf("Equal the other way round = %v", got)
			}
			if got := document.Match(c.a).Equal(string(c.b)); got != c.want {
				t.Errorf("Match = %v", got)
			}
		})
	}
}

// The order is one: of any items sorted in any way the same comes out.
func TestOrder(t *testing.T) {
	now := time.Now()
	var sorted [][]byte
	for _, v := range []any{
		nil, false, true,
		math.NaN(), math.Inf(-1), -1e30, math.MinInt64, -1.5, -1, 0, 0.25, 1, 2.5, 1 << 53, float64(1<<53 + 2), math.MaxInt64, float64(1 << 63), uint64(1<<63 + 1), uint64(math.MaxUint64), 1e20, math.Inf(1),
		"", "a", "aa", "b", "\xff",
		[]byte{}, []byte{0}, []byte{255},
		now.Add(-time.Second).In(time.FixedZone("", 3600)), now, now.Add(time.Nanosecond).UTC(),
		[]any{1}, []any{2}, m{"a": 1},
	} {
		sorted = append(sorted, encode(t, v))
	}
	for i, a := range sorted {
		for j, b := range sorted {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := document.RankOf(string(a)).Compare(document.RankOf(string(b))); got != want {
				t.Errorf("%v compared with %v: %d, want %d", decode(t, a), decode(t, b), got, want)
			}
		}
	}
	if document.RankOf("\xf9\x3c\x00").Compare(document.RankOf(string(encode(t, 1)))) != 0 {
		t.Error("a 16-bit 1.0 is not 1")
	}
}

// Whatever is given, what comes out of an item is an item.
func FuzzDocument(f *testing.F) {
	f.Add(encode(f, m{"a": []any{1, 2, m{"b": "c"}}}), encode(f, "a"), encode(f, 2), encode(f, []any{1}))
	f.Add([]byte("\xbf\x61a\x9f\x01\x02\xff\xff"), encode(f, "a"), encode(f, -1), encode(f, 5))
	f.Add(encode(f, m{"n": []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}}), encode(f, "n"), encode(f, 3), encode(f, 1.5))
	f.Add([]byte{}, []byte{}, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, doc, step1, step2, item []byte) {
		whole := func(b []byte) bool {
			rest, err := codec.Skip(b)
			return err == nil && len(rest) == 0
		}
		well := whole(doc) || len(doc) == 0
		for _, p := range []document.Path{nil, {step1}, {step1, step2}} {
			results := [][]byte{}
			if b, ok, err := document.Get(doc, p); ok && err == nil && len(p) > 0 {
				results = append(results, b)
			}
			if b, err := document.Set(doc, p, item); err == nil {
				results = append(results, b)
				if got, ok, err := document.Get(b, p); well && (!ok || err != nil || !document.Equal(got, item)) {
					t.Errorf("%x was set to %x at %x: there is %x, %v, %v", doc, item, p, got, ok, err)
				}
			}
			if b, existed, err := document.Delete(doc, p); existed && err == nil {
				results = append(results, b)
			}
			if b, _, err := document.Append(doc, p, item); err == nil {
				results = append(results, b)
			}
			for _, n := range []document.NumberType{document.Int8, document.Uint64, document.Float32, document.Float64} {
				if b, sum, err := document.Add(doc, p, n, item); err == nil {
					results = append(results, b, sum)
				}
			}
			for _, b := range results {
				if well && !whole(b) {
					t.Errorf("%x with %x at %x became %x", doc, item, p, b)
				}
			}
		}
		if !document.Equal(doc, doc) || document.Equal(doc, item) != document.Equal(item, doc) || document.Match(doc).Equal(string(item)) != document.Equal(doc, item) {
			t.Errorf("%x and %x are sometimes equal", doc, item)
		}
		if a, b := document.RankOf(string(doc)), document.RankOf(string(item)); a.Compare(b) != -b.Compare(a) || a.Compare(a) != 0 {
			t.Errorf("%x and %x have no order", doc, item)
		}
	})
}

// What can be sent in a moment does not take minutes: long keys in maps of many, and maps in maps that all have to be brought into order.
func TestHostileValues(t *testing.T) {
	if detector.Enabled {
		t.Skip("one goroutine, megabytes, and a bound on the time: a hundred times as slow with the race detector")
	}
	began := time.Now()
	keys := slices.Concat([]byte{0xba, 0, 0x10, 0, 0}, slices.Repeat([]byte{0x60, 0x01}, 1<<20)) // a map of a million empty texts
	long := append([]byte{0x7a, 0, 0x10, 0, 0}, make([]byte, 1<<20)...)                          // a text of a megabyte
	if _, ok, err := document.Get(keys, document.Path{long}); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	// {1: {1: …, 0: 0}, 0: 0}, with a megabyte in the middle.
	nested := slices.Concat(slices.Repeat([]byte{0xa2, 1}, 900), long, slices.Repeat([]byte{0, 0}, 900))
	other := slices.Clone(nested)
	other[len(other)-1] = 2
	for range 20 {
		if document.Equal(nested, other) || !document.Equal(nested, slices.Clone(nested)) {
			t.Error("equal is what is not, or not what is")
		}
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
}
