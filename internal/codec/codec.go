// Package codec holds the one CBOR (RFC 8949) configuration in which values travel between processes.
//
// Bytes may come from anybody: a malformed item is an error and never a panic, and a receiver allocates for the elements that a
// message really contains, not for the number that its header claims. (An element costs at least one byte of message; how large it is
// in memory is up to the type decoded into.)
//
// The package keeps no state: there is nothing to close, and nothing to be left behind by a process that dies. All functions may be
// called by any number of goroutines at once.
//
//	b, err := codec.Marshal(map[string]any{"at": time.Now(), "n": 3})
//	var m map[string]any
//	err = codec.Unmarshal(b, &m) // m["at"] is a time.Time again, m["n"] an int64
//
// What differs from the defaults of the CBOR library:
//
//   - Times are RFC 3339 text with nanoseconds and the zone's offset, under tag 0, so that an any receives a time.Time. The zero time
//     travels as null. RFC 3339 has years 0 to 9999 and offsets of whole minutes.
//   - Strings that are not UTF-8 pass unchanged in both directions: log lines and file names are what they are.
//   - The number of elements is bounded by the message, and the nesting by 65,535 levels, not by 131,072 and 32, which would fail in the
//     receiver only.
//   - Into an any, integers decode as int64 (those beyond it as *big.Int), maps as map[string]any, big integers as *big.Int.
//   - Floating-point numbers keep their width and bits, NaN's included.
//   - encoding.TextMarshaler is honoured after encoding.BinaryMarshaler, so that netip.Addr, url.URL, big.Float and their like cross.
//   - Slices of numbers larger than a byte, from 8 elements on, are typed arrays of RFC 8746, which are copied and not read number by number. Either form is
//     read into either, and into an any as []any. What the library has to write, as the values of a map, it writes as ordinary arrays; package handover writes those itself.
//   - Struct fields match by exact name; unknown ones are skipped and missing ones stay zero.
//
// Types that are made of plain parts are written and read by a [Plan], without the library and to the same bytes.
//
// Values that contain handles, or that may contain themselves, need package handover: this package follows pointers and would
// follow a cycle for ever.
package codec

import (
	"bytes"
	"errors"
	"io"
	"math"
	"reflect"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// MaxNesting is the number of arrays and maps that may stand inside each other. It is the largest that the library allows; decoding
// at that depth needs about 100 MB of stack, a tenth of what Go permits a goroutine.
const MaxNesting = 65535

// The library's modes are made when they are first needed: most values have a plan and never meet them, and a child would pay for them, and
// for the maps and types below, before it begins.
var (
	enc = sync.OnceValue(func() cbor.UserBufferEncMode {
		return must(cbor.EncOptions{
			Time:          cbor.TimeRFC3339Nano,
			TimeTag:       cbor.EncTagRequired,
			TextMarshaler: cbor.TextMarshalerTextString,
			NaNConvert:    cbor.NaNConvertNone,
			InfConvert:    cbor.InfConvertNone,
			// Else a *big.Int in an any would come back as a *big.Int or an int64, depending on its value.
			BigIntConvert: cbor.BigIntConvertNone,
		}.UserBufferEncMode())
	})

	encKey = sync.OnceValue(func() cbor.EncMode {
		return must(cbor.EncOptions{
			Sort:          cbor.SortCoreDeterministic,
			Time:          cbor.TimeRFC3339Nano,
			TimeTag:       cbor.EncTagRequired,
			TextMarshaler: cbor.TextMarshalerTextString,
			NaNConvert:    cbor.NaNConvert7e00,
			InfConvert:    cbor.InfConvertNone,
			BigIntConvert: cbor.BigIntConvertNone,
			IndefLength:   cbor.IndefLengthForbidden,
		}.EncMode())
	})

	dec = sync.OnceValue(func() cbor.DecMode {
		return must(cbor.DecOptions{
			MaxNestedLevels:   MaxNesting,
			MaxArrayElements:  math.MaxInt32,
			MaxMapPairs:       math.MaxInt32,
			UTF8:              cbor.UTF8DecodeInvalid,
			IntDec:            cbor.IntDecConvertSignedOrBigInt,
			BigIntDec:         cbor.BigIntDecodePointer,
			DefaultMapType:    reflect.TypeFor[map[string]any](),
			FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
			TimeTag:           cbor.DecTagOptional,
			TextUnmarshaler:   cbor.TextUnmarshalerTextString,
		}.DecMode())
	})
)

func must[T any](mode T, err error) T {
	if err != nil {
		panic("codec: " + err.Error())
	}
	return mode
}

// Marshal returns v as one CBOR item. chan, func, complex and unsafe.Pointer are an error; a value that contains itself must not
// be given (see the package documentation).
func Marshal(v any) ([]byte, error) {
	if p := planFor(v); p != nil {
		return p.marshal(v)
	}
	return enc().Marshal(v)
}

// planFor is the plan of what v holds or points to, if there is one.
func planFor(v any) *Plan {
	t := reflect.TypeOf(v)
	if t == nil {
		return nil
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return PlanOf(t)
}

// Append appends v as one CBOR item to dst and returns the extended slice. On error it returns dst as it was given.
func Append(dst []byte, v any) ([]byte, error) {
	if p := planFor(v); p != nil {
		b, err := p.appendAny(dst, v)
		if err != nil {
			return dst, err
		}
		return b, nil
	}
	buf := bytes.NewBuffer(dst)
	if err := enc().MarshalToBuffer(v, buf); err != nil {
		return dst, err
	}
	return buf.Bytes(), nil
}

// Encode appends v as one CBOR item to buf. On error buf is as it was.
func Encode(buf *bytes.Buffer, v any) error {
	n := buf.Len()
	if p := planFor(v); p != nil {
		// It may grow, and is not to be copied for that.
		b, err := p.appendAny(buf.Bytes(), v)
		if err != nil {
			b = b[:n]
		}
		*buf = *bytes.NewBuffer(b)
		return err
	}
	err := enc().MarshalToBuffer(v, buf)
	if err != nil {
		buf.Truncate(n)
	}
	return err
}

// MarshalKey returns v as one CBOR item in deterministic encoding (RFC 8949 §4.2.1, floating-point numbers keep their width): equal
// keys of one type are equal bytes, in every process and every version. Equality is that of the encoding: 0.0 and -0.0 are two keys,
// and so is one instant in two time zones; all NaNs are one.
func MarshalKey(v any) ([]byte, error) {
	return encKey().Marshal(v)
}

// Unmarshal decodes b, which must be exactly one CBOR item, into *p. What *p held before is replaced and not merged into, so that no
// slice or map of an earlier message is written to. Bytes that end early are io.ErrUnexpectedEOF. On error *p is undefined.
func Unmarshal(b []byte, p any) error {
	if rest, ok := read(b, p); ok && len(rest) == 0 {
		return nil
	}
	if err := prepare(p); err != nil {
		return err
	}
	rest, typed, err := skip(b)
	if err != nil {
		return err
	}
	if typed {
		b = append(expand(b[:len(b)-len(rest)]), rest...)
	}
	return endEarly(dec().Unmarshal(b, p))
}

// read is UnmarshalFirst where there is a plan for it, and the message is as that expects it. If it is not, *p is undefined.
func read(b []byte, p any) (rest []byte, ok bool) {
	v := reflect.ValueOf(p)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return b, false
	}
	plan := PlanOf(v.Type().Elem())
	if plan == nil {
		return b, false
	}
	v.Elem().SetZero()
	return plan.read(b, v.UnsafePointer(), 0, 0)
}

// UnmarshalFirst decodes the first CBOR item of b into *p, as Unmarshal does, and returns the bytes that follow it.
func UnmarshalFirst(b []byte, p any) (rest []byte, err error) {
	if rest, ok := read(b, p); ok {
		return rest, nil
	}
	if err := prepare(p); err != nil {
		return b, err
	}
	rest, err = libraryFirst(b, p)
	return rest, endEarly(err)
}

// libraryFirst has the library decode the first item of b into *p.
func libraryFirst(b []byte, p any) (rest []byte, err error) {
	rest, typed, err := skip(b)
	if err != nil {
		return b, err
	}
	if !typed {
		return dec().UnmarshalFirst(b, p)
	}
	if err := dec().Unmarshal(expand(b[:len(b)-len(rest)]), p); err != nil {
		return b, err
	}
	return rest, nil
}

func prepare(p any) error {
	v := reflect.ValueOf(p)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return errors.New("codec: decoding needs a pointer that is not nil")
	}
	v.Elem().SetZero()
	return nil
}

// endEarly keeps the library's io.EOF for "no bytes at all" away from callers, to whom io.EOF means that a peer hung up between messages.
func endEarly(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
