package manager

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/codec"
)

// What is encoded without package codec has the bytes that it would have, as key and as value.
func TestSimpleEncoding(t *testing.T) {
	for _, v := range []any{
		"", "a", strings.Repeat("x", 23), strings.Repeat("x", 24), strings.Repeat("x", 300), strings.Repeat("x", 70_000), "\xff\xfe",
		0, 1, -1, 23, 24, -24, -25, 255, 256, 65535, 65536, math.MaxInt, math.MinInt,
		int64(math.MinInt64), int64(math.MaxInt64), uint64(math.MaxUint64), uint64(0), true, false,
	} {
		want, err := codec.MarshalKey(v)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		var ok bool
		// The type parameter has to be the value's type, as it is with users.
		switch v := v.(type) {
		case string:
			got, ok = appendSimple(nil, v)
			checkSimple(t, v, want)
		case int:
			got, ok = appendSimple(nil, v)
			checkSimple(t, v, want)
		case int64:
			got, ok = appendSimple(nil, v)
			checkSimple(t, v, want)
		case uint64:
			got, ok = appendSimple(nil, v)
			checkSimple(t, v, want)
		case bool:
			got, ok = appendSimple(nil, v)
			checkSimple(t, v, want)
		}
		if !ok || !bytes.Equal(got, appendBytes(nil, want)) {
			t.Errorf("%T %.20v: % x, want % x", v, v, got, want)
		}
		if value, err := codec.Marshal(v); err != nil || !bytes.Equal(value, want) {
			t.Errorf("%T %.20v: as a value % x, as a key % x", v, v, value, want)
		}
	}
}

func checkSimple[V comparable](t *testing.T, v V, encoded []byte) {
	t.Helper()
	var got V
	if !decodeSimple(encoded, &got) || got != v {
		t.Errorf("%T %.20v: decoded as %.20v", v, v, got)
	}
	key, err := appendKey(nil, v)
	if err != nil || !bytes.Equal(key, appendBytes(nil, encoded)) {
		t.Errorf("%T %.20v: key % x, %v", v, v, key, err)
	}
}

func TestDescribe(t *testing.T) {
	type inner struct {
		A int
		b int
		C string `cbor:"see"`
		D bool   `cbor:"-"`
	}
	type tree struct {
		Name string
		Sub  []*tree
	}
	for _, test := range []struct {
		t    reflect.Type
		want string
	}{
		{reflect.TypeFor[int](), "int64"},
		{reflect.TypeFor[map[string][]uint8](), "map[string][]uint8"},
		{reflect.TypeFor[inner](), "struct{A int64; see string}"},
		{reflect.TypeFor[*tree](), "*struct{Name string; Sub []*tree}"},
		{reflect.TypeFor[time.Time](), "time.Time"},
		{reflect.TypeFor[any](), "any"},
		{reflect.TypeFor[[3]*List[Dict[int, bool]]](), "[3]list[struct{}]"},
		{reflect.TypeFor[*Dict[string, *List[uint]]](), "dict[string]list[uint64]"},
	} {
		if got := describe(test.t); got != test.want {
			t.Errorf("%v: %q, want %q", test.t, got, test.want)
		}
	}
	_ = inner{}.b
}

func TestItems(t *testing.T) {
	for _, n := range []int64{0, 1, 23, 24, 255, 256, 65535, 65536, 1<<32 - 1, 1 << 32, math.MaxInt64, -1, -24, -25, -256, -257, math.MinInt64} {
		b := appendInt(nil, n)
		r := itemReader{b: b}
		if got := r.int(); got != n || r.err != nil || len(r.b) > 0 {
			t.Errorf("%d: % x is read as %d, %v", n, b, got, r.err)
		}
	}
	for name, b := range map[string][]byte{
		"nothing": {}, "a cut head": {0x19, 1}, "a break": {0xff}, "a reserved head": {0x1c}, "an indefinite string": {0x5f, 0x41, 0, 0xff},
		"too large for int": {0x1b, 0x80, 0, 0, 0, 0, 0, 0, 0}, "too small for int": {0x3b, 0x80, 0, 0, 0, 0, 0, 0, 0},
	} {
		r := itemReader{b: b}
		r.int()
		if r.err == nil {
			t.Errorf("int from %s: no error", name)
		}
	}
	r := itemReader{b: []byte{0x83, 1, 2}}
	if n := r.array(); n != 0 || r.err == nil {
		t.Errorf("an array longer than the message has %d items, %v", n, r.err)
	}
}
