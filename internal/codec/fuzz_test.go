package codec_test

import (
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/go-multiproc/multiproc/internal/codec"
)

type target struct {
	A    int8
	S    []string
	M    map[string][]any
	K    map[[2]int]*target
	T    time.Time
	B    *big.Int
	Addr netip.Addr
	Arr  [3]float32
	Kids []target
	Any  any
}

// FuzzUnmarshal: whatever the bytes, no panic; and Skip agrees with the library about what is one item.
func FuzzUnmarshal(f *testing.F) {
	for _, v := range []any{
		1, "x\xff", []any{1, nil, map[string]any{"a": time.Unix(1, 1)}}, big.NewInt(7),
		target{S: []string{"a"}, M: map[string][]any{"k": {1}}, K: map[[2]int]*target{{1, 2}: {}}, Kids: []target{{A: 3}}, Addr: netip.IPv6Loopback()},
	} {
		b, err := codec.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("\x9f\x7f\x61x\xff\xbf\x01\x02\xff\xff"))
	f.Add([]byte("\x82\xd8\x4f\x50\x01\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xd8\x55\x43\x00\x00\x00")) // typed arrays, one that is not whole
	f.Add([]byte("\xa1\x41x\x00"))
	f.Add([]byte("\xd9\xd9\xf7\xc0\x61x"))
	lib, err := cbor.DecOptions{MaxNestedLevels: 65535}.DecMode()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, p := range []any{new(any), new(target), new([]target), new(map[any]any), new(string), new(map[string]int), new(*time.Time)} {
			start := time.Now()
			err := codec.Unmarshal(b, p)
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("%T: %d bytes took %v", p, len(b), d)
			}
			if err != nil {
				continue
			}
			// What was understood can be said again, and is understood the same.
			v := reflect.ValueOf(p).Elem().Interface()
			again, err := codec.Marshal(v)
			if err != nil {
				continue // a tag in an any, with content that does not suit it
			}
			q := reflect.New(reflect.TypeOf(p).Elem())
			if err := codec.Unmarshal(again, q.Interface()); err != nil && !strings.Contains(err.Error(), "for time.Time") { // years beyond 9999
				t.Errorf("%T %v does not come back: %v", p, v, err)
			}
		}
		rest, err := codec.Skip(b)
		libRest, libErr := lib.UnmarshalFirst(b, new(cbor.RawMessage))
		if libErr == nil && err != nil && len(b) < 64 && !tagged(b) {
			t.Errorf("Skip: %v, where the library finds an item", err)
		}
		if libErr == nil && err == nil && len(rest) != len(libRest) {
			t.Errorf("Skip leaves %d bytes, the library %d", len(rest), len(libRest))
		}
	})
}

// tagged reports whether b may have a run of tags that Skip refuses.
func tagged(b []byte) bool {
	n := 0
	for _, c := range b {
		if c>>5 == byte(codec.Tag) {
			n++
		}
	}
	return n > 16
}
