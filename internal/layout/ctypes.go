package layout

import "reflect"

// A Code is one of the type codes that Python's multiprocessing.Value and Array
// take, with the Go type that has the same bytes.
type Code struct {
	Code byte
	C    string       // the C type behind it, as on 64-bit Linux
	Type reflect.Type // what to write for T
}

// Codes lists the codes in the order of Python's documentation.
func Codes() []Code {
	return []Code{
		{'c', "char", reflect.TypeFor[byte]()},
		{'u', "wchar_t", reflect.TypeFor[rune]()},
		{'b', "signed char", reflect.TypeFor[int8]()},
		{'B', "unsigned char", reflect.TypeFor[uint8]()},
		{'h', "short", reflect.TypeFor[int16]()},
		{'H', "unsigned short", reflect.TypeFor[uint16]()},
		{'i', "int", reflect.TypeFor[int32]()},
		{'I', "unsigned int", reflect.TypeFor[uint32]()},
		{'l', "long", reflect.TypeFor[int64]()},
		{'L', "unsigned long", reflect.TypeFor[uint64]()},
		{'q', "long long", reflect.TypeFor[int64]()},
		{'Q', "unsigned long long", reflect.TypeFor[uint64]()},
		{'f', "float", reflect.TypeFor[float32]()},
		{'d', "double", reflect.TypeFor[float64]()},
	}
}
