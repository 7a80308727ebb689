package codec_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/codec"
)

func cross[T any](t testing.TB, v T) T {
	t.Helper()
	b, err := codec.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out T
	if err := codec.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	type named string
	type inner struct {
		A int8
		B [3]uint16
	}
	type every struct {
		Bool   bool
		Ints   []int64
		Uints  []uint64
		F32    float32
		F64    []float64
		Str    string
		Bytes  []byte
		Array  [4]byte
		Map    map[string][]int
		IntMap map[int]string
		Named  map[named]inner
		Ptr    *inner
		Nil    *inner
		NilS   []int
		EmptyS []int
		NilM   map[string]int
		EmptyM map[string]int
		inner
		Big     *big.Int
		BigNeg  big.Int
		BigF    *big.Float
		Addr    netip.Addr
		Prefix  netip.Prefix
		IP      net.IP
		URL     url.URL
		URLp    *url.URL
		Dur     time.Duration
		Skipped int `cbor:"-"`
		Renamed int `cbor:"other"`
	}
	u, _ := url.Parse("https://u:p@h:1/p?q=1#f")
	in := every{
		Bool: true, Ints: []int64{0, -1, math.MinInt64, math.MaxInt64}, Uints: []uint64{0, math.MaxUint64},
		F32: 1.1, F64: []float64{1.1, math.Inf(1), math.Inf(-1), math.Copysign(0, -1), math.MaxFloat64, math.SmallestNonzeroFloat64},
		Str: "str\x00ü", Bytes: []byte{0, 255}, Array: [4]byte{1, 2, 3, 4}, Map: map[string][]int{"": nil, "k": {1}},
		IntMap: map[int]string{-5: "x"}, Named: map[named]inner{"n": {A: -1}}, Ptr: &inner{B: [3]uint16{1, 2, 3}},
		EmptyS: []int{}, EmptyM: map[string]int{}, inner: inner{A: 7},
		Big: new(big.Int).Lsh(big.NewInt(1), 200), BigNeg: *big.NewInt(-4), BigF: big.NewFloat(1.5).SetPrec(64),
		Addr: netip.MustParseAddr("fe80::1%eth0"), Prefix: netip.MustParsePrefix("10.0.0.0/8"), IP: net.IPv4(1, 2, 3, 4), URL: *u, URLp: u,
		Dur: time.Hour, Renamed: 9,
	}
	if out := cross(t, in); !reflect.DeepEqual(out, in) {
		t.Errorf("arrived as\n%+v\nwant\n%+v", out, in)
	}
	if math.Signbit(cross(t, in).F64[3]) == false {
		t.Error("-0 lost its sign")
	}
}

func TestFloatBits(t *testing.T) {
	nan := math.Float64frombits(0x7ff8_0000_dead_beef)
	if got := math.Float64bits(cross(t, nan)); got != math.Float64bits(nan) {
		t.Errorf("NaN arrived as %#x", got)
	}
	if got := cross(t, float32(math.Inf(-1))); !math.IsInf(float64(got), -1) {
		t.Errorf("-Inf arrived as %v", got)
	}
	if got := cross(t, float32(math.NaN())); got == got {
		t.Errorf("NaN arrived as %v", got)
	}
}

func TestAny(t *testing.T) {
	when := time.Date(2024, 2, 29, 23, 59, 58, 123456789, time.FixedZone("", 2*3600))
	for _, c := range []struct {
		name     string
		in, want any
	}{
		{"int", 5, int64(5)},
		{"uint8", uint8(5), int64(5)},
		{"negative", int8(-5), int64(-5)},
		{"largest int64", uint64(math.MaxInt64), int64(math.MaxInt64)},
		{"beyond int64", uint64(math.MaxUint64), new(big.Int).SetUint64(math.MaxUint64)},
		{"small big.Int", big.NewInt(5), big.NewInt(5)},
		{"big.Int value", *big.NewInt(-5), big.NewInt(-5)},
		{"float32", float32(1.5), 1.5},
		{"string", "s", "s"},
		{"bytes", []byte{1}, []byte{1}},
		{"byte array", [2]byte{1, 2}, []byte{1, 2}},
		{"nested", map[string]any{"a": map[string]any{"b": []any{1, nil, "x"}}}, map[string]any{"a": map[string]any{"b": []any{int64(1), nil, "x"}}}},
		{"typed map", map[string][]int{"k": {1}}, map[string]any{"k": []any{int64(1)}}},
		{"nil", nil, nil},
		{"time", []any{when}, []any{when}},
		{"not UTF-8", map[string]any{"k\xff": "v\xfe"}, map[string]any{"k\xff": "v\xfe"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := cross(t, c.in)
			if l, ok := got.([]any); ok && c.name == "time" {
				if tm, ok := l[0].(time.Time); !ok || !tm.Equal(when) || tm.Format(time.RFC3339Nano) != when.Format(time.RFC3339Nano) {
					t.Fatalf("arrived as %#v", got)
				}
				return
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("arrived as %#v, want %#v", got, c.want)
			}
		})
	}
}

func TestTime(t *testing.T) {
	now := time.Now()
	out := cross(t, now)
	if !out.Equal(now) || out.Format(time.RFC3339Nano) != now.Format(time.RFC3339Nano) {
		t.Errorf("%v arrived as %v", now, out)
	}
	if out := cross(t, time.Time{}); !out.IsZero() {
		t.Errorf("the zero time arrived as %v", out)
	}
	type s struct{ T, Zero time.Time }
	in := s{T: time.Unix(0, 1).UTC()}
	if out := cross(t, in); out != in {
		t.Errorf("%v arrived as %v", in, out)
	}
}

func TestNotUTF8(t *testing.T) {
	bad := "\xff\xfe\x80line"
	if got := cross(t, bad); got != bad {
		t.Errorf("string arrived as %q", got)
	}
	type s struct{ M map[string][]string }
	in := s{map[string][]string{bad: {bad}}}
	if got := cross(t, in); !reflect.DeepEqual(got, in) {
		t.Errorf("struct arrived as %q", got)
	}
}

func TestManyElements(t *testing.T) {
	const n = 300_000
	ints, strs, m := make([]int, n), make([]any, n), make(map[int]bool, n)
	for i := range n {
		ints[i], strs[i], m[i] = i, "x", true
	}
	if got := cross(t, ints); !reflect.DeepEqual(got, ints) {
		t.Error("slice")
	}
	if got := cross(t, any(strs)); !reflect.DeepEqual(got, any(strs)) {
		t.Error("slice in any")
	}
	if got := cross(t, m); len(got) != n {
		t.Errorf("map of %d", len(got))
	}
}

type list struct{ Next *list }

func TestNesting(t *testing.T) {
	for _, n := range []int{40, 1000, codec.MaxNesting} {
		var a any = "end"
		var l *list
		for range n {
			a = []any{a}
			l = &list{l}
		}
		depth := 0
		for v, ok := cross(t, a).([]any); ok; v, ok = v[0].([]any) {
			depth++
		}
		if depth != n {
			t.Errorf("%d levels of any arrived as %d", n, depth)
		}
		depth = 0
		for v := cross(t, l); v != nil; v = v.Next {
			depth++
		}
		if depth != n {
			t.Errorf("list of %d arrived as %d", n, depth)
		}
	}
}

// Bytes by which the library, left to itself, takes 10 s of CPU or more memory than the message explains.
func TestHostile(t *testing.T) {
	rep := func(s string, n int) []byte { return bytes.Repeat([]byte(s), n) }
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"nothing", nil, "unexpected EOF"},
		{"run of tags", append(rep("\xc6", 65535), 0), "tags"},
		{"nested indefinite arrays", append(rep("\x9f", 65535), rep("\xff", 65535)...), "indefinite"},
		{"nested indefinite maps", rep("\xbf\x00", 65535), "indefinite"},
		{"too deep", append(rep("\x81", 65536), 0), "nested"},
		{"array of 2^63", []byte("\x9b\x80\x00\x00\x00\x00\x00\x00\x00"), "unexpected EOF"},
		{"array of 2^64-1", []byte("\x9b\xff\xff\xff\xff\xff\xff\xff\xff"), "unexpected EOF"},
		{"map of 2^32", []byte("\xba\xff\xff\xff\xff"), "unexpected EOF"},
		{"arrays of claims", rep("\x9a\x00\x00\xff\xff", 10_000), "unexpected EOF"},
		{"string of 2^62", []byte("\x7b\x40\x00\x00\x00\x00\x00\x00\x00x"), "unexpected EOF"},
		{"bare break", []byte("\xff"), "break"},
		{"break in an array", []byte("\x9f\x82\x00\xff"), "break"},
		{"reserved", []byte("\x1c"), "does not begin"},
		{"odd map", []byte("\xbf\x00\xff"), "break"},
		{"chunk of another type", []byte("\x7f\x41x\xff"), "wrong element type"},
		{"two items", []byte("\x00\x00"), "extraneous"},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			var v any
			err := codec.Unmarshal(c.b, &v)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want an error with %q", err, c.want)
			}
			if d := time.Since(start); d > 2*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

func TestTruncated(t *testing.T) {
	b, err := codec.Marshal(map[string]any{"a": []any{1, "xyz", 1.5, []byte{1}, time.Now()}, "b": big.NewInt(1)})
	if err != nil {
		t.Fatal(err)
	}
	for n := range b {
		var v any
		if err := codec.Unmarshal(b[:n:n], &v); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%d of %d bytes: %v", n, len(b), err)
		}
	}
}

func TestUnsupported(t *testing.T) {
	for _, v := range []any{make(chan int), func() {}, 1i, []any{make(chan int)}, struct{ C complex64 }{}, struct{ F func() }{}} {
		_, err := codec.Marshal(v)
		if err == nil || !strings.Contains(err.Error(), "unsupported type") {
			t.Errorf("%T: %v", v, err)
		}
	}
	if err := codec.Unmarshal([]byte{0}, 5); err == nil {
		t.Error("decoded into a 5")
	}
	if err := codec.Unmarshal([]byte{0}, nil); err == nil {
		t.Error("decoded into nil")
	}
	if err := codec.Unmarshal([]byte{0}, (*int)(nil)); err == nil {
		t.Error("decoded into a nil pointer")
	}
}

// A target that is used again must not be merged into: its slices may have been handed on.
func TestTargetIsReplaced(t *testing.T) {
	type s struct {
		A []int
		M map[string]int
		P *int
	}
	one := 1
	v := s{[]int{1, 2, 3}, map[string]int{"old": 1}, &one}
	kept := v
	b, _ := codec.Marshal(struct {
		A []int
		M map[string]int
	}{[]int{9}, map[string]int{"new": 2}})
	if err := codec.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if want := (s{A: []int{9}, M: map[string]int{"new": 2}}); !reflect.DeepEqual(v, want) {
		t.Errorf("target is %+v, want %+v", v, want)
	}
	if kept.A[0] != 1 || len(kept.M) != 1 || one != 1 {
		t.Errorf("what the target held was written to: %+v", kept)
	}
}

func TestFields(t *testing.T) {
	type newer struct {
		A, B int
		C    []string
	}
	type older struct{ B, D int }
	b, _ := codec.Marshal(newer{1, 2, []string{"x"}})
	var o older
	if err := codec.Unmarshal(b, &o); err != nil || o != (older{B: 2}) {
		t.Errorf("%+v, %v", o, err)
	}
	var lower struct{ a, B int }
	b, _ = codec.Marshal(map[string]int{"b": 1})
	if err := codec.Unmarshal(b, &lower); err != nil || lower.B != 0 {
		t.Errorf("field B took the value of b: %+v, %v", lower, err)
	}
}

func TestAppendAndFirst(t *testing.T) {
	b := []byte("head")
	b, err := codec.Append(b, 1)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = codec.Append(b, []string{"x"}); err != nil {
		t.Fatal(err)
	}
	before := len(b)
	if b, err = codec.Append(b, []any{1, 2, make(chan int)}); err == nil || len(b) != before {
		t.Errorf("%v, %d bytes appended", err, len(b)-before)
	}
	var buf bytes.Buffer
	buf.WriteString("kept")
	if err := codec.Encode(&buf, []any{1, 2, 1i}); err == nil || buf.String() != "kept" {
		t.Errorf("%v, %q", err, buf.String())
	}
	var n int
	rest, err := codec.UnmarshalFirst(b[4:], &n)
	if err != nil || n != 1 {
		t.Fatal(n, err)
	}
	var s []string
	if rest, err = codec.UnmarshalFirst(rest, &s); err != nil || len(rest) != 0 || s[0] != "x" {
		t.Fatal(rest, s, err)
	}
	if _, err = codec.UnmarshalFirst(rest, &s); err != io.ErrUnexpectedEOF {
		t.Errorf("nothing left: %v", err)
	}
}

func TestMarshalKey(t *testing.T) {
	type key struct {
		B  string
		A  int
		In struct{ Z, Y float32 }
	}
	same := func(a, b any) bool {
		x, err := codec.MarshalKey(a)
		if err != nil {
			t.Fatal(err)
		}
		y, err := codec.MarshalKey(b)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Equal(x, y)
	}
	many := func(reverse bool) map[string]int {
		m := map[string]int{}
		for i := range 100 {
			if reverse {
				i = 99 - i
			}
			m[strings.Repeat("k", i)] = i
		}
		return m
	}
	for _, c := range []struct {
		name string
		a, b any
		want bool
	}{
		{"strings", "a\xff", "a\xff", true},
		{"other strings", "a", "b", false},
		{"structs", key{"x", 1, struct{ Z, Y float32 }{1, 2}}, key{"x", 1, struct{ Z, Y float32 }{1, 2}}, true},
		{"other structs", key{"x", 1, struct{ Z, Y float32 }{1, 2}}, key{"x", 1, struct{ Z, Y float32 }{2, 1}}, false},
		{"field order", struct{ A, B int }{1, 2}, struct{ B, A int }{2, 1}, true},
		{"maps", many(false), many(true), true},
		{"widths of float", any(float32(1.5)), any(1.5), false},
		{"NaNs", math.NaN(), math.Float64frombits(0x7ff8_0000_0000_0001), true},
		{"arrays", [2]int{1, 2}, [2]int{1, 2}, true},
		{"addresses", netip.MustParseAddr("::1"), netip.MustParseAddr("0::1"), true},
		{"bytes and string", "ab", [2]byte{'a', 'b'}, false},
	} {
		if got := same(c.a, c.b); got != c.want {
			t.Errorf("%s: same = %v", c.name, got)
		}
	}
}

func TestSkip(t *testing.T) {
	for _, v := range []any{1, "x", []byte{}, []any{1, []any{}, map[string]any{"a": time.Now()}}, 1.5, nil, true, big.NewInt(1)} {
		b, err := codec.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		rest, err := codec.Skip(append(b, "rest"...))
		if err != nil || string(rest) != "rest" {
			t.Errorf("%v: %q, %v", v, rest, err)
		}
	}
	for _, s := range []string{"\x9f\x9f\x01\xff\x82\x01\x02\xff", "\x7f\x61x\x61y\xff", "\xbf\x61x\x9f\xff\xff", "\xc6\x81\xf6"} {
		rest, err := codec.Skip([]byte(s + "rest"))
		if err != nil || string(rest) != "rest" {
			t.Errorf("%x: %q, %v", s, rest, err)
		}
	}
}

func TestHeads(t *testing.T) {
	for _, n := range []uint64{0, 23, 24, 255, 256, 65535, 65536, math.MaxUint32, math.MaxUint32 + 1, math.MaxUint64} {
		for m := codec.Uint; m <= codec.Tag; m++ {
			var b bytes.Buffer
			codec.WriteHead(&b, m, n)
			h, err := codec.ReadHead(b.Bytes())
			if err != nil || h.Major != m || h.Arg != n || h.Size != b.Len() || h.Indefinite {
				t.Errorf("%v %d: %+v, %v", m, n, h, err)
			}
			for i := range b.Len() {
				if _, err := codec.ReadHead(b.Bytes()[:i:i]); err != io.ErrUnexpectedEOF {
					t.Errorf("%d bytes of %x: %v", i, b.Bytes(), err)
				}
			}
		}
		b, _ := codec.Marshal(n)
		var w bytes.Buffer
		codec.WriteHead(&w, codec.Uint, n)
		if !bytes.Equal(b, w.Bytes()) {
			t.Errorf("%d: head %x, the library writes %x", n, w.Bytes(), b)
		}
	}
}

func TestWriters(t *testing.T) {
	for _, v := range []any{true, false, int64(0), int64(-1), int64(math.MinInt64), int64(300), float32(1.5), math.Float32frombits(0x7fc00001), 1e300, math.NaN(), math.Inf(1)} {
		var b bytes.Buffer
		switch v := v.(type) {
		case bool:
			codec.WriteBool(&b, v)
		case int64:
			codec.WriteInt(&b, v)
		case float32:
			codec.WriteFloat32(&b, v)
		case float64:
			codec.WriteFloat64(&b, v)
		}
		if want, _ := codec.Marshal(v); !bytes.Equal(b.Bytes(), want) {
			t.Errorf("%v: %x, the library writes %x", v, b.Bytes(), want)
		}
	}
}

func ExampleMarshal() {
	b, err := codec.Marshal(map[string]any{"n": 3, "line": "caf\xe9"}) // Latin-1: not UTF-8
	if err != nil {
		fmt.Println(err)
		return
	}
	var m map[string]any
	if err := codec.Unmarshal(b, &m); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%T %q\n", m["n"], m["line"])
	// Output: int64 "caf\xe9"
}
