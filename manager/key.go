package manager

import (
	"encoding"
	"fmt"
	"reflect"

	"github.com/go-multiproc/multiproc/internal/codec"
)

// encodeKey returns a key in its deterministic encoding, so that equal keys are equal bytes. buf is memory that it may use.
func encodeKey[K comparable](buf []byte, k K) ([]byte, error) {
	// The usual keys without reflection; the bytes are those of MarshalKey.
	switch k := any(k).(type) {
	case string:
		return appendText(buf, k), nil
	case int:
		return appendInt(buf, int64(k)), nil
	case int64:
		return appendInt(buf, k), nil
	case uint64:
		return appendUint(buf, k), nil
	}
	b, err := codec.MarshalKey(k)
	if err != nil {
		return nil, fmt.Errorf("manager: key: %w", err)
	}
	return b, nil
}

func decodeKey[K comparable](b []byte) (k K, err error) {
	if err := codec.Unmarshal(b, &k); err != nil {
		return k, fmt.Errorf("manager: a key of the dict is no %T: %w", k, err)
	}
	return k, nil
}

// checkKey refuses key types of which two equal values can have different bytes, or two different ones the same.
func checkKey(t reflect.Type) error {
	if why := badKey(t, map[reflect.Type]bool{}); why != "" {
		return fmt.Errorf("manager: %v cannot be the key type of a Dict: %s", t, why)
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
