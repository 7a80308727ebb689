package handover_test

import (
	"fmt"
	"math/big"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/codec"
	"github.com/go-multiproc/multiproc/internal/handover"
)

type event struct {
	time.Time
	Name string
}

type ownEvent struct {
	time.Time
	Name string
}

func (e ownEvent) MarshalText() ([]byte, error)   { return nil, nil }
func (e ownEvent) MarshalBinary() ([]byte, error) { return []byte(e.Name), nil }
func (e *ownEvent) UnmarshalBinary(b []byte) error {
	e.Name = "own " + string(b)
	return nil
}

type ownByPointer struct {
	time.Time
	Name string
}

func (e *ownByPointer) MarshalBinary() ([]byte, error) { return []byte(e.Name), nil }
func (e *ownByPointer) UnmarshalBinary(b []byte) error { e.Name = "own " + string(b); return nil }

// ownWriter reads itself with time.Time's method only: one half is missing.
type ownWriter struct {
	time.Time
	Name string
}

func (e *ownWriter) MarshalBinary() ([]byte, error) { return []byte(e.Name), nil }

type twoMarshalers struct {
	time.Time
	netip.Addr
}

type secret struct {
	ID       int    `json:"id"`
	Password string `json:"-"`
	Note     string `json:",omitempty"`
}

type named struct{ Name, Own string }

type shadows struct {
	named
	Name string
}

type left struct{ X, L int }
type right struct{ X, R int }
type both struct {
	left
	*Right
}
type Right = right

type Self struct {
	*Self
	N int
}

type color int

func (c color) MarshalText() ([]byte, error) { return []byte("color"), nil }

type level string

func (l *level) UnmarshalText(b []byte) error { *l = level("read " + string(b)); return nil }

type blob []byte

func (b *blob) UnmarshalBinary([]byte) error { panic("not written by MarshalBinary") }

type halfStruct struct{ A, B int }

func (h *halfStruct) MarshalText() ([]byte, error) { return []byte("h"), nil }

type asArray struct {
	_ struct{} `cbor:",toarray"`
	A int
	S *asArray
	B *box
	T time.Time
}

type byNumber struct {
	A int        `cbor:"1,keyasint"`
	B []byNumber `cbor:"-2,keyasint"`
	C *box       `cbor:"3,keyasint"`
}

type renamed struct {
	A    int  `cbor:"x"`
	B    *box `json:"y,omitempty"`
	Zero any  `cbor:"z,omitempty"`
}

type promotes struct {
	named
	*Base
	Dur time.Duration
	Any any
}

// Structs that the codec, with JSON's habits, would not carry whole.
func TestStructs(t *testing.T) {
	checkFDs(t)
	when := time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
	for _, c := range []struct {
		name string
		v    any
	}{
		{"embedded time", event{when, "name"}},
		{"embedded times", []event{{when, "a"}, {Name: "b"}}},
		{"embedded time by pointer", struct {
			*time.Time
			N int
		}{&when, 1}},
		{"embedded time, own writer", ownWriter{when, "name"}},
		{"two embedded marshalers", twoMarshalers{when, netip.MustParseAddr("::1")}},
		{"json minus", secret{1, "pw", "n"}},
		{"json minus in a map", map[string]secret{"k": {1, "pw", ""}}},
		{"hidden by a name", shadows{named{"inner", "own"}, "outer"}},
		{"two of one name", both{left{1, 2}, &Right{3, 4}}},
		{"nil embedded", both{left{1, 2}, nil}},
		{"embeds itself", Self{&Self{nil, 1}, 2}},
		{"written only", []color{1, 2}},
		{"written only, as key", map[color]color{1: 2}},
		{"read only", level("x")},
		{"read only bytes", blob("x")},
		{"read only in any kind of place", map[level][]blob{"k": {blob("x"), nil}}},
		{"half struct", halfStruct{1, 2}},
		{"half structs", []*halfStruct{{1, 2}, nil}},
		{"as array", asArray{A: 1, S: &asArray{A: 2}}},
		{"by number", byNumber{A: 1, B: []byNumber{{A: 2}}}},
		{"promoted", promotes{named: named{"a", "b"}, Base: &Base{}, Dur: 5, Any: "x"}},
		{"empty", struct{}{}},
		{"nil and empty slices", struct {
			A, B []any
			C, D map[string]any
		}{nil, []any{}, nil, map[string]any{}}},
		{"uintptr map", map[uintptr][]uintptr{1: {2}}},
		{"byte arrays", map[[2]byte][3]byte{{1, 2}: {3, 4, 5}}},
		{"interface kinds", []any{int64(1), "x", []byte{1}, nil, true, 1.5, []any{}, map[string]any{}, big.NewInt(4), when}},
		{"any keys", map[any]any{"a": "b", int64(1): true, 1.5: nil, true: int64(2)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			data, fds := ship(t, c.v)
			out := reflect.New(reflect.TypeOf(c.v))
			if _, err := handover.Unmarshal(data, fds, out.Interface()); err != nil {
				t.Fatal(err)
			}
			if got := out.Elem().Interface(); !reflect.DeepEqual(got, c.v) {
				t.Errorf("arrived as %+v, want %+v", got, c.v)
			}
		})
	}
	if got := cross(t, ownEvent{when, "x"}); got.Name != "own x" {
		t.Errorf("a type's own marshaler was not used: %+v", got)
	}
	if got := cross(t, []ownByPointer{{when, "x"}}); got[0].Name != "own x" {
		t.Errorf("a type's own marshaler was not used: %+v", got)
	}
	r := cross(t, renamed{A: 1, B: newBox(t, "b")})
	if r.A != 1 || r.B.name != "b" {
		t.Errorf("renamed fields arrived as %+v", r)
	}
	a := cross(t, asArray{A: 1, B: newBox(t, "b"), S: &asArray{}})
	if a.B.name != "b" || a.S == nil {
		t.Errorf("struct as array arrived as %+v", a)
	}
	n := cross(t, byNumber{C: newBox(t, "b"), B: []byNumber{{A: 7}}})
	if n.C.name != "b" || n.B[0].A != 7 {
		t.Errorf("struct by number arrived as %+v", n)
	}
}

// The walk and the codec write one format, so that ends which disagree about a type's handles still understand each other.
func TestSameWireForm(t *testing.T) {
	type in struct {
		Emb  named
		A    int8
		B    []uint16
		C    map[string]bool
		D    [2]float32
		E    *float64
		F    []byte
		G    [3]byte
		H    string
		Nil  *int
		NilS []int
		Neg  int `cbor:"-5,keyasint"`
		At   time.Time
		Dur  time.Duration
	}
	type walked struct {
		in
		More any
	}
	f := 1.25
	v := in{named{"a", "b\xff"}, -128, []uint16{0, 65535}, map[string]bool{"x": true}, [2]float32{1.5, -2}, &f, []byte{1}, [3]byte{1, 2, 3}, "h", nil, nil, -1,
		time.Date(2020, 1, 2, 3, 4, 5, 600, time.FixedZone("", -3600)), 5}
	m, err := handover.Marshal(walked{v, nil}, "v")
	if err != nil {
		t.Fatal(err)
	}
	want, err := codec.Marshal(walked{v, nil})
	if err != nil {
		t.Fatal(err)
	}
	if string(m.Data) != string(want) {
		t.Errorf("the walk writes\n%x\nthe codec\n%x", m.Data, want)
	}
}

func TestTimes(t *testing.T) {
	amsterdam := time.FixedZone("AMT", 19*60+32)
	for _, tm := range []time.Time{
		{},
		time.Date(1930, 5, 6, 7, 8, 9, 123456789, amsterdam),
		time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
		time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2024, 6, 1, 0, 0, 0, 1, time.FixedZone("", 5*3600+45*60)),
		time.Now(),
	} {
		if got := cross(t, tm); !got.Equal(tm) {
			t.Errorf("%v arrived as %v", tm, got)
		}
		got, ok := cross(t, []any{tm})[0].(time.Time)
		if !ok || !got.Equal(tm) {
			t.Errorf("%v in an any arrived as %v", tm, got)
		}
		if got := cross(t, map[time.Time]int{tm: 1}); len(got) != 1 {
			t.Errorf("%v as a key: %v", tm, got)
		}
	}
	if got := cross(t, time.Time{}); got != (time.Time{}) {
		t.Errorf("the zero time arrived as %#v", got)
	}
	for _, y := range []int{-1, 10000} {
		_, err := handover.Marshal(map[string][]time.Time{"k": {{}, time.Date(y, 5, 1, 0, 0, 0, 0, time.UTC)}}, "args")
		mustFail(t, err, fmt.Sprintf(`args["k"][1]: a time.Time in the year %d cannot be passed to another process`, y))
	}
}

func TestVersions(t *testing.T) {
	type newer struct {
		A    int
		New  map[string][]*box
		B    *box
		More any
	}
	type older struct {
		B    *box
		Gone string
		A    int
	}
	checkFDs(t)
	data, fds := ship(t, newer{A: 1, New: map[string][]*box{"k": {newBox(t, "new")}}, B: newBox(t, "b"), More: "x"})
	var o older
	taken, err := handover.Unmarshal(data, fds, &o)
	if err != nil {
		t.Fatal(err)
	}
	if o.A != 1 || o.B.name != "b" || o.Gone != "" {
		t.Errorf("older program has %+v", o)
	}
	taken.Close()
	data, fds = ship(t, older{A: 2, Gone: "x", B: newBox(t, "b")})
	n := newer{New: map[string][]*box{"stale": nil}}
	if taken, err = handover.Unmarshal(data, fds, &n); err != nil {
		t.Fatal(err)
	}
	if n.A != 2 || n.B.name != "b" || n.New != nil {
		t.Errorf("newer program has %+v", n)
	}
	taken.Close()

	// A handle that is first met in a field which the receiver does not know.
	b := newBox(t, "b")
	data, fds = ship(t, newer{New: map[string][]*box{"k": {b}}, B: b})
	if taken, err = handover.Unmarshal(data, fds, &o); err != nil {
		t.Fatal(err)
	}
	if o.B.name != "b" {
		t.Errorf("older program has %+v", o)
	}
	taken.Close()
}
