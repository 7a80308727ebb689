package handover

import "reflect"

const worthReserving = 1 << 20 // bytes

// atLeast returns a number of bytes that v surely takes on the wire: those of its long strings and byte slices and of slices of strings,
// as far as they are found without looking at much. A buffer that begins at the right size spares a message of 100 MB another 200 MB
// on the way, of old and new buffers side by side, and half the time.
func atLeast(v reflect.Value, depth int) (n int) {
	if depth == 0 {
		return 0
	}
	switch v.Kind() {
	case reflect.String:
		return v.Len()
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return atLeast(v.Elem(), depth-1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			n += atLeast(v.Field(i), depth-1)
		}
	case reflect.Slice:
		switch e := v.Type().Elem(); {
		case e.Kind() == reflect.Uint8:
			return v.Len()
		case e.Kind() == reflect.String:
			n = v.Len()
			for i := range v.Len() {
				n += v.Index(i).Len()
			}
		case v.Len() <= 64:
			n = v.Len()
			for i := range v.Len() {
				n += atLeast(v.Index(i), depth-1)
			}
		default:
			n = v.Len()
		}
	}
	return n
}
