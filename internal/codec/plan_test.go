package codec_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/codec"
)

type plainInner struct {
	A int8
	B [3]uint16
	C []plainInner
}

type Base struct{ BaseField string }

// plainAll has every kind of field that needs no library.
type plainAll struct {
	Bool       bool
	I8         int8
	I16        int16
	I32        int32
	I64        int64
	I          int
	U8         uint8
	U16        uint16
	U32        uint32
	U64        uint64
	U          uint
	F32        float32
	F64        float64
	S          string
	B          []byte
	BA         [3]byte
	None       [0]byte
	Ints       []int
	Strings    []string
	Floats     []float32
	Bools      []bool
	Arr        [2]string
	In         plainInner
	Ins        []plainInner
	P          *plainInner
	PP         **int
	T          time.Time
	Ts         []time.Time
	Empty      []struct{}
	NotSent    int `cbor:"-"`
	NotJSON    int `json:"-"`
	hidden     string
	Renamed    int       `cbor:"a name that is longer than twenty-three bytes"`
	JSON       int       `json:"j"`
	OptB       bool      `cbor:",omitempty"`
	OptI       int       `cbor:"opt,omitempty"`
	OptF       float64   `json:",omitempty"`
	OptS       string    `json:"os,omitempty"`
	OptBytes   []byte    `cbor:",omitempty"`
	OptStrings []string  `cbor:",omitempty"`
	OptP       *int      `cbor:",omitempty"`
	OptT       time.Time `cbor:",omitempty"`
	Base
}

// mixed has fields that are the library's, between others.
type mixed struct {
	A    int
	M    map[string]plainInner
	Any  any
	Addr netip.Addr
	Big  *big.Int
	Many []netip.Prefix
	Z    string
}

type textual int

func (t textual) MarshalText() ([]byte, error) { return fmt.Append(nil, "t", int(t)), nil }
func (t *textual) UnmarshalText(b []byte) error {
	_, err := fmt.Sscanf(string(b), "t%d", (*int)(t))
	return err
}

type asArray struct {
	_ struct{} `cbor:",toarray"`
	A int
	B string
}

type withZero struct {
	A int       `cbor:",omitzero"`
	T time.Time `cbor:",omitzero"`
}

type withIntKeys struct {
	A int `cbor:"1,keyasint"`
}

type embedsPointer struct {
	*Base
	A int
}

type clash struct {
	Base
	Other
}

type Other struct{ BaseField string }

type tree struct {
	Name string
	Kids []*tree
	Self []tree
}

func pointer[T any](v T) *T { return &v }

func filled() plainAll {
	return plainAll{
		hidden: "stays", Bool: true, I8: -128, I16: math.MinInt16, I32: math.MinInt32, I64: math.MinInt64, I: -1000,
		U8: 255, U16: math.MaxUint16, U32: math.MaxUint32, U64: math.MaxUint64, U: 24, F32: 1.5, F64: math.Pi, S: strings.Repeat("s\xff", 300),
		B: []byte("bytes"), BA: [3]byte{1, 2, 3}, Ints: []int{0, 23, 24, 255, 256, 65535, 65536, 1 << 32, -1, -24, -25, -256, -257, math.MinInt64},
		Strings: []string{"", "a", strings.Repeat("x", 70000)}, Floats: []float32{0, -0.5, float32(math.Inf(1))}, Bools: []bool{true, false},
		Arr: [2]string{"x", "y"}, In: plainInner{1, [3]uint16{1, 2, 3}, []plainInner{{A: 4}}}, Ins: []plainInner{{A: 2}, {}},
		P: &plainInner{A: 9}, PP: pointer(pointer(5)), T: time.Date(2024, 2, 29, 23, 59, 58, 123456789, time.FixedZone("", 7200)),
		Ts: []time.Time{{}, time.Unix(0, 0).UTC()}, Empty: make([]struct{}, 5), Renamed: 1, JSON: 2,
		OptB: true, OptI: 1, OptF: 2, OptS: "3", OptBytes: []byte{4}, OptStrings: []string{"5"}, OptP: pointer(0), OptT: time.Unix(1, 0).UTC(), Base: Base{"base"},
	}
}

var planned = []struct {
	name string
	v    any
	pure bool // without the library
}{
	{"zero", plainAll{}, true},
	{"filled", filled(), true},
	{"empty, not nil", plainAll{B: []byte{}, Ints: []int{}, Strings: []string{}, OptBytes: []byte{}, OptStrings: []string{}, Ins: []plainInner{}}, true},
	{"int", 5, true},
	{"a time before the year 0", time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC), false},
	{"a slice of structs", []plainAll{filled(), {}}, true},
	{"an array of structs", [2]plainInner{{A: 1}}, true},
	{"no fields", struct{}{}, true},
	{"one pointer", struct{ P *int }{pointer(3)}, true},
	{"one int", struct{ I int }{3}, true},
	{"array of one pointer", [1]*int{pointer(3)}, true},
	{"mixed", mixed{A: 1, M: map[string]plainInner{"k": {A: 1}}, Any: []any{int64(1), "x"}, Addr: netip.MustParseAddr("::1"), Big: big.NewInt(5),
		Many: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Z: "z"}, false},
	{"mixed, zero", mixed{}, false},
	{"methods of an element", []textual{1, 2}, false},
	{"as an array", asArray{A: 1, B: "2"}, false},
	{"omitzero", withZero{}, false},
	{"integers for keys", withIntKeys{3}, false},
	{"embedded pointer", embedsPointer{&Base{"b"}, 1}, false},
	{"embedded nil", embedsPointer{A: 1}, false},
	{"names that clash", clash{Base{"a"}, Other{"b"}}, false},
	{"contains itself", tree{"a", []*tree{{Name: "b"}, nil}, []tree{{Name: "c"}}}, true},
	{"nil pointer", (*plainAll)(nil), false},
	{"pointer", pointer(filled()), false}, // counted for what it points to
	{"twenty-four fields", struct{ A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P, Q, R, S, T, U, V, W, X int }{X: 5}, true},
}

// What a plan writes and reads is what the library does, but for typed arrays, which the library does not know.
func TestPlansAgreeWithLibrary(t *testing.T) {
	for _, c := range planned {
		t.Run(c.name, func(t *testing.T) {
			b := agree(t, reflect.ValueOf(c.v))
			p := codec.PlanOf(reflect.TypeOf(c.v))
			if got := p != nil && p.Planned(b, reflect.New(reflect.TypeOf(c.v)).Interface()); c.pure && !got {
				t.Error("the library was needed")
			}
		})
	}
}

// agree checks both ways of writing v, and both of reading what was written, and returns that.
func agree(t *testing.T, v reflect.Value) []byte {
	t.Helper()
	want, err := codec.LibraryMarshal(v.Interface())
	got, gotErr := codec.Marshal(v.Interface())
	if err != nil || gotErr != nil {
		if fmt.Sprint(err) != fmt.Sprint(gotErr) {
			t.Fatalf("%v: error %v, the library's %v", v.Type(), gotErr, err)
		}
		return nil
	}
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	byPointer, _ := codec.Append([]byte("x"), p.Interface())
	buf := bytes.NewBufferString("x")
	codec.Encode(buf, v.Interface())
	for _, got := range [][]byte{got, byPointer[1:], buf.Bytes()[1:]} {
		if got = codec.Expanded(got); !bytes.Equal(got, want) {
			t.Fatalf("%v is written as\n%x, by the library as\n%x", v.Type(), got, want)
		}
	}
	agreeReading(t, v.Type(), want)
	agreeReading(t, v.Type(), got)
	return got
}

// agreeReading checks both ways of reading b.
func agreeReading(t *testing.T, typ reflect.Type, b []byte) {
	t.Helper()
	want, got, first := reflect.New(typ), reflect.New(typ), reflect.New(typ)
	err := codec.LibraryUnmarshal(b, want.Interface())
	gotErr := codec.Unmarshal(b, got.Interface())
	if (err == nil) != (gotErr == nil) {
		t.Fatalf("%v: reading %x: error %v, the library's %v", typ, b, gotErr, err)
	}
	if err != nil {
		return
	}
	rest, err := codec.UnmarshalFirst(append(bytes.Clone(b), "rest"...), first.Interface())
	if err != nil || string(rest) != "rest" {
		t.Fatalf("%v: reading %x and more leaves %q, error %v", typ, b, rest, err)
	}
	for _, got := range []reflect.Value{got, first} {
		if !same(got.Interface(), want.Interface()) {
			t.Fatalf("%v: %x is read as\n%+v, by the library as\n%+v", typ, b, got.Elem(), want.Elem())
		}
	}
}

// same is DeepEqual, where all that is not a number is the same: the library changes the bits of some of that.
func same(a, b any) bool {
	if reflect.DeepEqual(a, b) {
		return true
	}
	x, err := codec.MarshalKey(a)
	y, errY := codec.MarshalKey(b)
	return err == nil && errY == nil && bytes.Equal(x, y)
}

// The message claims more than it has.
func TestPlansAllocateWhatIsThere(t *testing.T) {
	type nest [][]nest
	b := bytes.Repeat([]byte{0x99, 0xff, 0xff}, 30_000) // each an array of 65,535
	for _, p := range []any{new(nest), new([]plainAll), new(tree), new([][][][]int)} {
		n := testing.AllocsPerRun(1, func() {
			if err := codec.Unmarshal(b, p); err == nil {
				t.Error("no error")
			}
		})
		if n > 1000 {
			t.Errorf("%T: %v allocations", p, n)
		}
	}
	var before, after memory
	before.read()
	var v nest
	codec.Unmarshal(b, &v)
	after.read()
	if d := after.total - before.total; d > 64<<20 {
		t.Errorf("%d bytes of message took %d of memory", len(b), d)
	}
}

func TestPlanErrors(t *testing.T) {
	type bad struct{ C chan int }
	type holder struct {
		A    int
		Many []bad
		P    *bad
	}
	for _, v := range []any{bad{}, []bad{}, holder{}, holder{Many: []bad{{}}}, holder{P: &bad{}}, map[string]bad{}, struct{ F []func() }{}} {
		agree(t, reflect.ValueOf(v))
	}
	if b, err := codec.Append([]byte("kept"), failing{Z: "z"}); err == nil || string(b) != "kept" {
		t.Errorf("%q, %v", b, err)
	}
	buf := bytes.NewBufferString("kept")
	if err := codec.Encode(buf, &failing{Z: "z"}); err == nil || buf.String() != "kept" {
		t.Errorf("%q, %v", buf, err)
	}
}

type failing struct {
	A int
	M refuses
	Z string
}

type refuses struct{}

func (refuses) MarshalText() ([]byte, error) { return nil, errors.New("not today") }

// A typeMaker makes types and values of bytes.
type typeMaker struct{ b []byte }

func (m *typeMaker) byte() byte {
	if len(m.b) == 0 {
		return 0
	}
	c := m.b[0]
	m.b = m.b[1:]
	return c
}

var leaves = []reflect.Type{
	reflect.TypeFor[bool](), reflect.TypeFor[int8](), reflect.TypeFor[int16](), reflect.TypeFor[int32](), reflect.TypeFor[int64](), reflect.TypeFor[int](),
	reflect.TypeFor[uint8](), reflect.TypeFor[uint16](), reflect.TypeFor[uint32](), reflect.TypeFor[uint64](), reflect.TypeFor[uint](),
	reflect.TypeFor[float32](), reflect.TypeFor[float64](), reflect.TypeFor[string](), reflect.TypeFor[[]byte](), reflect.TypeFor[[2]byte](),
	reflect.TypeFor[time.Time](), reflect.TypeFor[textual](), reflect.TypeFor[any](), reflect.TypeFor[tree](), reflect.TypeFor[netip.Addr](), reflect.TypeFor[plainInner](),
}

func (m *typeMaker) typ(depth int) reflect.Type {
	c := m.byte()
	if depth == 0 || c >= 64 {
		return leaves[int(c)%len(leaves)]
	}
	switch c % 6 {
	case 0:
		return reflect.SliceOf(m.typ(depth - 1))
	case 1:
		return reflect.ArrayOf(int(m.byte()%4), m.typ(depth-1))
	case 2:
		return reflect.PointerTo(m.typ(depth - 1))
	case 3:
		return reflect.MapOf(reflect.TypeFor[string](), m.typ(depth-1))
	}
	var fields []reflect.StructField
	for i := range int(m.byte() % 30) {
		f := reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: m.typ(depth - 1)}
		switch m.byte() % 16 {
		case 0:
			f.Tag = `cbor:",omitempty"`
		case 1:
			f.Tag = `json:"renamed,omitempty"`
		case 2:
			f.Tag = `cbor:"-"`
		case 3:
			f.Tag = `cbor:",omitzero"`
		}
		fields = append(fields, f)
	}
	return reflect.StructOf(fields)
}

func (m *typeMaker) fill(v reflect.Value) {
	c := m.byte()
	var raw [8]byte
	for i := range min(int(c%9), 8) {
		raw[i] = m.byte()
	}
	n := binary.LittleEndian.Uint64(raw[:])
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(n&1 == 1)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Int:
		v.SetInt(int64(n))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		v.SetUint(n)
	case reflect.Float32:
		v.SetFloat(float64(math.Float32frombits(uint32(n))))
	case reflect.Float64:
		v.SetFloat(math.Float64frombits(n))
	case reflect.String:
		v.SetString(strings.Repeat(string(raw[:c%9]), int(c)))
	case reflect.Slice:
		if c == 0 || len(m.b) == 0 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), int(c%5), int(c%5)))
		for i := range v.Len() {
			m.fill(v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			m.fill(v.Index(i))
		}
	case reflect.Pointer:
		if c%2 == 1 && len(m.b) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			m.fill(v.Elem())
		}
	case reflect.Map:
		if c%2 == 1 { // more than one pair would come in any order
			v.Set(reflect.MakeMap(v.Type()))
			e := reflect.New(v.Type().Elem()).Elem()
			m.fill(e)
			v.SetMapIndex(reflect.ValueOf(string(raw[:])), e)
		}
	case reflect.Interface:
		if c%2 == 1 {
			v.Set(reflect.ValueOf(int64(n)))
		}
	case reflect.Struct:
		switch v.Type() {
		case reflect.TypeFor[time.Time]():
			if c%3 != 0 {
				v.Set(reflect.ValueOf(time.Unix(int64(n)>>22, int64(n&0xffff)).In(time.FixedZone("", int(c)*60))))
			}
			return
		case reflect.TypeFor[netip.Addr]():
			return
		}
		for i := range v.NumField() {
			m.fill(v.Field(i))
		}
	}
}

// FuzzPlan: types and values of any kind are written and read as by the library; and so are bytes that are not quite what was written.
func FuzzPlan(f *testing.F) {
	f.Add([]byte{4, 5, 64, 1, 2, 3, 4, 5, 6, 7, 8}, uint16(3), byte(1))
	f.Add(bytes.Repeat([]byte{4, 6, 70, 9, 0, 77, 2, 3, 5, 80}, 20), uint16(0), byte(0x9f))
	f.Add(bytes.Repeat([]byte{5, 23, 66, 67, 68, 0, 76, 4}, 40), uint16(9), byte(0xf6))
	for i := range byte(64) {
		f.Add(bytes.Repeat([]byte{i, 7 * i, 13, 3 * i, i ^ 0x55, 200 - i, 65 + i}, 12), uint16(i), 3*i)
	}
	f.Fuzz(func(t *testing.T, b []byte, at uint16, change byte) {
		m := &typeMaker{b}
		typ := m.typ(3)
		v := reflect.New(typ).Elem()
		m.fill(v)
		w := agree(t, v)
		if w == nil {
			return
		}
		for i := range min(len(w), 40) { // cut off
			agreeReading(t, typ, w[:i])
		}
		x := bytes.Clone(w)
		x[int(at)%len(x)] = change
		agreeReading(t, typ, x)
		agreeReading(t, typ, b)
		x = append(x[:int(at)%len(x)], append([]byte{change}, w[int(at)%len(w):]...)...)
		agreeReading(t, typ, x)
	})
}
