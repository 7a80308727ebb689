package handover_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/handover"
)

type mapped struct {
	Plain  map[string]int
	Nested map[int]map[string][]int
	Any    any
	Map    map[string]any
	Keys   map[any]bool
	NaN    map[float64]int
	None   map[string]int
	Slice  []map[string]string
	Ptr    *map[uint8]time.Time
	Handle map[string]*tube
}

// With Sorted, a value has the bytes that it had, whatever the order in which its maps are walked; and they say the same.
func TestSorted(t *testing.T) {
	build := func() *mapped {
		v := &mapped{Plain: map[string]int{}, Nested: map[int]map[string][]int{}, Map: map[string]any{}, Keys: map[any]bool{"a": true, int64(1): true, 2.5: true, false: true},
			NaN: map[float64]int{math.NaN(): 1, 1: 2}, Slice: []map[string]string{{"a": "b", "c": "d", "e": "f"}}, Ptr: &map[uint8]time.Time{1: time.Unix(1, 0), 2: time.Unix(2, 0)},
			Handle: map[string]*tube{}}
		inner := map[string]any{}
		for i := range 50 {
			key := strings.Repeat("k", i%7) + fmt.Sprint(i)
			v.Plain[key] = i
			v.Nested[i-25] = map[string][]int{"x": {1, 2, 3}, "y": nil, key: {}}
			inner[key] = map[string]any{"a": 1, "b": "two", "c": []any{map[string]int{"p": 1, "q": 2}}}
			v.Map[key] = []map[string]int{{"p": 1, "q": 2, "r": 3}}
		}
		v.Any = inner
		return v
	}
	for _, c := range []struct {
		name string
		v    func() any
	}{
		{"struct", func() any { return build() }},
		{"map", func() any { return build().Plain }},
		{"any", func() any { return map[string]any{"m": build().Any} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var first []byte
			for range 10 {
				m, err := handover.Marshal(c.v(), "v", handover.NoHandles("be kept"), handover.Sorted())
				if err != nil {
					t.Fatal(err)
				}
				if first == nil {
					first = m.Data
				}
				if !bytes.Equal(first, m.Data) {
					t.Fatal("the same value has other bytes")
				}
			}
			plain, err := handover.Marshal(c.v(), "v")
			if err != nil {
				t.Fatal(err)
			}
			a, b := reflect.New(reflect.TypeOf(c.v())), reflect.New(reflect.TypeOf(c.v()))
			if _, err := handover.Unmarshal(first, nil, a.Interface()); err != nil {
				t.Fatal(err)
			}
			if _, err := handover.Unmarshal(plain.Data, nil, b.Interface()); err != nil {
				t.Fatal(err)
			}
			if x, y := fmt.Sprintf("%+v", a.Elem()), fmt.Sprintf("%+v", b.Elem()); c.name != "struct" && x != y {
				t.Errorf("sorted it is\n%s\nand not\n%s", x, y)
			}
			if v, ok := a.Interface().(**mapped); ok {
				x, y := **v, **(b.Interface().(**mapped))
				if len(x.NaN) != 2 || !x.Keys[int64(1)] || len(x.Keys) != 4 || x.None != nil || !(*x.Ptr)[2].Equal(time.Unix(2, 0)) {
					t.Errorf("sorted it is %+v", x)
				}
				x.NaN, y.NaN, x.Ptr, y.Ptr = nil, nil, nil, nil // not equal to themselves
				if !reflect.DeepEqual(x, y) {
					t.Errorf("sorted it is\n%+v\nand not\n%+v", x, y)
				}
			}
		})
	}
}

// The handles in a map are numbered in the order in which they stand, also where one stands twice.
func TestSortedHandles(t *testing.T) {
	h := map[string]*tube{}
	for i := range 20 {
		h[fmt.Sprint(i)] = &tube{name: fmt.Sprint(i % 7)}
	}
	h["again"] = h["3"]
	var first []byte
	for range 10 {
		m, err := handover.Marshal(h, "v", handover.Sorted())
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = m.Data
		}
		if !bytes.Equal(first, m.Data) {
			t.Fatal("the same handles have other bytes")
		}
		m.Drop()
	}
	var got map[string]*tube
	if _, err := handover.Unmarshal(first, nil, &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 21 || got["again"] != got["3"] || got["8"].name != "1" {
		t.Errorf("%v", got)
	}
}

// A tube is a handle that needs no descriptor.
type tube struct{ name string }

func (b *tube) HandOver(e *handover.Encoder) error { return e.Put(b.name) }
func (b *tube) TakeOver(d *handover.Decoder) error { return d.Get(&b.name) }

type selfMade struct{ n int }

func (s selfMade) MarshalBinary() ([]byte, error)  { return []byte{byte(s.n)}, nil }
func (s *selfMade) UnmarshalBinary(b []byte) error { s.n = int(b[0]); return nil }

type knot struct {
	Next *knot
	Of   []knot
	In   map[string]*knot
}

func TestCheck(t *testing.T) {
	type in[T any] struct{ F T }
	type counter struct{ n int }
	type mixed struct {
		N     int
		cache int
	}
	_, _ = counter{}.n, mixed{}.cache
	noTubes := func(t reflect.Type) error {
		if t == reflect.TypeFor[*tube]() {
			return errors.New("no tubes here")
		}
		return nil
	}
	for _, c := range []struct {
		name string
		t    reflect.Type
		want string // "" is no error
	}{
		{"plain", reflect.TypeFor[in[map[string][]int]](), ""},
		{"itself", reflect.TypeFor[knot](), ""},
		{"any", reflect.TypeFor[in[any]](), ""},
		{"own methods", reflect.TypeFor[in[[]selfMade]](), ""},
		{"left out", reflect.TypeFor[struct {
			N  int
			mu sync.Mutex `cbor:"-"`
			C  chan int   `cbor:"-"`
		}](), ""},
		{"unexported", reflect.TypeFor[counter](), "t.n: an unexported field cannot be kept; export it, leave it out with the tag `cbor:\"-\"`, or give handover_test.counter the methods MarshalBinary and UnmarshalBinary"},
		{"unexported beside others", reflect.TypeFor[mixed](), "t.cache: an unexported field cannot be kept; export it, "},
		{"deep", reflect.TypeFor[in[map[string][]in[*sync.Mutex]]](), "t.F[…][…].F: a sync.Mutex cannot be kept; leave it out with the tag `cbor:\"-\"`"},
		{"key", reflect.TypeFor[in[map[[1]complex64]int]](), "t.F[key][…]: a complex64 cannot be kept"},
		{"channel", reflect.TypeFor[in[chan int]](), "t.F: a chan int cannot be kept"},
		{"function", reflect.TypeFor[in[func()]](), "t.F: a func() cannot be kept"},
		{"interface", reflect.TypeFor[in[io.Reader]](), "t.F: an io.Reader cannot be kept; use the concrete type"},
		{"file", reflect.TypeFor[in[*os.File]](), "t.F: a *os.File cannot be kept"},
		{"handle", reflect.TypeFor[in[[]*tube]](), "t.F[…]: no tubes here"},
		{"handle by value", reflect.TypeFor[tube](), "t: a handover_test.tube by value cannot be kept"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := handover.Check(c.t, "t", "be kept", noTubes)
			if got := fmt.Sprint(err); c.want == "" && err != nil || c.want != "" && !strings.HasPrefix(got, c.want) {
				t.Errorf("%s\nwant %s", got, c.want)
			}
		})
	}
}
