package document

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"

	"github.com/go-multiproc/multiproc/internal/codec"
)

// A NumberType is a type of numbers, with Go's widths. The numbers stand in the manager's protocol: they are never reassigned.
type NumberType uint64

// The types of numbers.
const (
	Int8    NumberType = 1
	Int16   NumberType = 2
	Int32   NumberType = 3
	Int64   NumberType = 4
	Uint8   NumberType = 5
	Uint16  NumberType = 6
	Uint32  NumberType = 7
	Uint64  NumberType = 8
	Float32 NumberType = 9
	Float64 NumberType = 10
)

// String returns Go's name of the type.
func (t NumberType) String() string {
	names := [...]string{Int8: "int8", Int16: "int16", Int32: "int32", Int64: "int64",
		Uint8: "uint8", Uint16: "uint16", Uint32: "uint32", Uint64: "uint64", Float32: "float32", Float64: "float64"}
	if t == 0 || int(t) >= len(names) {
		return fmt.Sprintf("number type %d", uint64(t))
	}
	return names[t]
}

// bounds are the smallest and the largest number of an integer type.
func (t NumberType) bounds() (low, high *big.Int) {
	one := big.NewInt(1)
	if t >= Uint8 {
		bits := uint(8) << (t - Uint8)
		return new(big.Int), new(big.Int).Sub(new(big.Int).Lsh(one, bits), one)
	}
	half := new(big.Int).Lsh(one, uint(8)<<(t-Int8)-1)
	return new(big.Int).Neg(half), new(big.Int).Sub(half, one)
}

// Add adds delta to the number that the path leads to, as numbers of type t, and returns the changed document and the sum. What is missing, or null,
// counts as 0, and maps on the way are made as Set does. An integer sum that t does not have is ErrOverflow, and so is a sum of finite floating-point
// numbers that is not finite; otherwise those are rounded as Go rounds them. delta may be negative for unsigned types.
func Add(doc []byte, p Path, t NumberType, delta []byte) (changed, sum []byte, err error) {
	if err := check(p, delta); err != nil {
		return nil, nil, err
	}
	doc = untyped(doc)
	s, err := find(doc, p)
	if err != nil {
		return nil, nil, err
	}
	var old []byte
	if s.found && !codec.IsNull(doc[s.start:s.end]) {
		old = doc[s.start:s.end]
	}
	switch {
	case t >= Int8 && t <= Uint64:
		sum, err = addIntegers(old, delta, t)
	case t == Float32 || t == Float64:
		sum, err = addFloats(old, delta, t)
	default:
		err = fmt.Errorf("%w: there is no %v", ErrType, t)
	}
	if err != nil {
		return nil, nil, err
	}
	return s.put(doc, p, sum), sum, nil
}

func addIntegers(old, delta []byte, t NumberType) ([]byte, error) {
	d, err := wholeNumber(delta)
	if err != nil {
		return nil, fmt.Errorf("%w: what is to be added is no integer", err)
	}
	low, high := t.bounds()
	sum := new(big.Int).Set(d)
	if old != nil {
		o, err := wholeNumber(old)
		if err != nil {
			return nil, fmt.Errorf("%w: what is to be added to is no integer", err)
		}
		sum.Add(sum, o)
	}
	if sum.Cmp(low) < 0 || sum.Cmp(high) > 0 {
		return nil, fmt.Errorf("%w: %v is no %v", ErrOverflow, sum, t)
	}
	var b bytes.Buffer
	if sum.Sign() < 0 {
		codec.WriteInt(&b, sum.Int64())
	} else {
		codec.WriteHead(&b, codec.Uint, sum.Uint64())
	}
	return b.Bytes(), nil
}

func wholeNumber(item []byte) (*big.Int, error) {
	h, err := codec.ReadHead(item)
	switch {
	case err != nil:
		return nil, malformed(err)
	case h.Major == codec.Uint:
		return new(big.Int).SetUint64(h.Arg), nil
	case h.Major == codec.Nint:
		return new(big.Int).Not(new(big.Int).SetUint64(h.Arg)), nil
	}
	return nil, ErrType
}

func addFloats(old, delta []byte, t NumberType) ([]byte, error) {
	d, err := floatingPoint(delta)
	if err != nil {
		return nil, fmt.Errorf("%w: what is to be added is no number", err)
	}
	o := 0.0
	if old != nil {
		if o, err = floatingPoint(old); err != nil {
			return nil, fmt.Errorf("%w: what is to be added to is no number", err)
		}
	} else if d == 0 {
		o = math.Copysign(0, d) // -0 + 0 would be 0
	}
	var b bytes.Buffer
	sum := o + d
	if t == Float32 {
		sum = float64(float32(o) + float32(d))
		codec.WriteFloat32(&b, float32(sum))
	} else {
		codec.WriteFloat64(&b, sum)
	}
	if math.IsInf(sum, 0) && !math.IsInf(o, 0) && !math.IsInf(d, 0) {
		return nil, fmt.Errorf("%w: %v + %v is no finite %v", ErrOverflow, o, d, t)
	}
	return b.Bytes(), nil
}

// floatingPoint reads a floating-point number of any width, or an integer.
func floatingPoint(item []byte) (float64, error) {
	h, err := codec.ReadHead(item)
	switch {
	case err != nil:
		return 0, malformed(err)
	case h.Major == codec.Uint:
		return float64(h.Arg), nil
	case h.Major == codec.Nint:
		return -1 - float64(h.Arg), nil
	}
	f, ok := float(item, h)
	if !ok {
		return 0, ErrType
	}
	return f, nil
}

// float reads a floating-point number whose head is h.
func float(item []byte, h codec.Head) (f float64, ok bool) {
	if h.Major != codec.Simple || h.Indefinite {
		return 0, false
	}
	switch h.Size {
	case 3:
		return half(uint16(h.Arg)), true
	case 5:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(item[1:]))), true
	case 9:
		return math.Float64frombits(h.Arg), true
	}
	return 0, false
}

// half is the value of a 16-bit floating-point number.
func half(bits uint16) float64 {
	exponent, mantissa := int(bits>>10&31), float64(bits&1023)
	var f float64
	switch exponent {
	case 0:
		f = math.Ldexp(mantissa, -24)
	case 31:
		f = math.Inf(1)
		if mantissa != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(mantissa+1024, exponent-25)
	}
	if bits>>15 != 0 {
		f = -f
	}
	return f
}
