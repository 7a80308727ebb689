package manager

import (
	"encoding"
	"fmt"
	"reflect"

	"github.com/go-multiproc/multiproc/internal/codec"
	"github.com/go-multiproc/multiproc/internal/handover"
)

// appendKey appends a key, as a byte string with its deterministic encoding: equal keys are equal bytes.
func appendKey[K comparable](b []byte, k K) ([]byte, error) {
	if b, ok := appendSimple(b, k); ok {
		return b, nil
	}
	e, err := codec.MarshalKey(k)
	if err != nil {
		return b, fmt.Errorf("manager: key: %w", err)
	}
	return appendBytes(b, e), nil
}

// appendSimple appends a byte string with the encoding of v, if v is of one of the usual types. That takes neither
// reflection nor memory; the bytes are those of package codec, which encodes such values in only one way.
func appendSimple[V any](b []byte, v V) ([]byte, bool) {
	at := len(b)
	switch v := any(v).(type) {
	case string:
		b = appendHead(b, codec.Bytes, uint64(headSize(len(v))+len(v)))
		return appendText(b, v), true
	case int:
		b = appendInt(append(b, 0), int64(v))
	case int64:
		b = appendInt(append(b, 0), v)
	case uint64:
		b = appendUint(append(b, 0), v)
	case bool:
		b = appendBool(append(b, 0), v)
	default:
		return b, false
	}
	b[at] = byte(codec.Bytes)<<5 | byte(len(b)-at-1) // at most nine bytes
	return b, true
}

// headSize is the size of the head of a string of n bytes.
func headSize(n int) int {
	var b [9]byte
	return len(appendHead(b[:0], codec.Text, uint64(n)))
}

func decodeKey[K comparable](b []byte) (k K, err error) {
	if decodeSimple(b, &k) {
		return k, nil
	}
	if err := codec.Unmarshal(b, &k); err != nil {
		return k, fmt.Errorf("manager: a key of the dict is no %T: %w", k, err)
	}
	return k, nil
}

// checkKey refuses key types of which two equal values can have different bytes, or two different ones the same.
func checkKey(t reflect.Type, what string) error {
	why := badKey(t, map[reflect.Type]bool{})
	if why == "" && !handover.Whole(t) {
		why = "some of its fields do not travel in a key (a tag json:\"-\", the same name as another's, or beside an embedded type that encodes itself), so that keys which differ in them would be one"
	}
	if why != "" {
		return fmt.Errorf("manager: %v cannot be %s: %s", t, what, why)
	}
	return nil
}

func badKey(t reflect.Type, seen map[reflect.Type]bool) string {
	if seen[t] {
		return ""
	}
	seen[t] = true
	if t.Kind() != reflect.Interface && t.Kind() != reflect.Pointer &&
		(t.Implements(reflect.TypeFor[encoding.BinaryMarshaler]()) || t.Implements(reflect.TypeFor[encoding.TextMarshaler]())) {
		return "" // it says itself what it is
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Chan, reflect.UnsafePointer:
		return fmt.Sprintf("%v is an address, which means nothing in another process", t)
	case reflect.Interface:
		return fmt.Sprintf("%v can hold any type, and would come back as another one", t)
	case reflect.Complex64, reflect.Complex128, reflect.Uintptr:
		return fmt.Sprintf("%v has no encoding", t)
	case reflect.Array:
		return badKey(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if !f.IsExported() || f.Tag.Get("cbor") == "-" {
				return fmt.Sprintf("field %s of %v does not travel, so that keys which differ in it would be one", f.Name, t)
			}
			if why := badKey(f.Type, seen); why != "" {
				return why
			}
		}
	}
	return ""
}
