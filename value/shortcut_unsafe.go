package value

import (
	"runtime"
	"sync/atomic"
	"unsafe"
)

// Load, Store and Add take a short cut where the value is a word, or an 8-byte
// one, and leave all else to a function in the Value. The first two are as long as
// the compiler allows for what it puts into the caller, which more than halves
// what they cost; a method of sync/atomic's types in the place of a function, a
// named helper, or a call of a method of v would each be too much.
//
// Safety: data points to the first 8 bytes of a page of a mapping, which stays
// valid as long as v is reachable, closed or not. fastLoad is set only if a T is
// 1, 2, 4 or 8 bytes, which little-endian machines have at the start of the word;
// fastStore and fastAdd only if it is 8.

// Load returns the value.
func (v *Value[T]) Load() T {
	bits := atomic.LoadUint64(v.data)
	// Only now: the memory of a Value that was closed in between is zero. This
	// also keeps v reachable until here. It is a plain read, since the atomic one
	// before it orders it, and with a second one the compiler would put bits on
	// the stack; Close writes it once.
	if v.fastLoad == 0 {
		return v.slowLoad()
	}
	return *(*T)(unsafe.Pointer(&bits))
}

// Store sets the value to x.
func (v *Value[T]) Store(x T) {
	if atomic.LoadUint32(&v.fastStore) == 0 {
		v.slowStore(x)
		return
	}
	atomic.StoreUint64(v.data, *(*uint64)(unsafe.Pointer(&x)))
	runtime.KeepAlive(v)
}

// Number is what Add adds.
type Number interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 |
		~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 |
		~float32 | ~float64
}

// Add adds delta to the value, in one step, and returns the sum. Integers wrap
// around. To subtract n from an unsigned type, add -n.
func Add[T Number](v *Value[T], delta T) T {
	if atomic.LoadUint32(&v.fastAdd) == 0 {
		return add(v, delta)
	}
	sum := atomic.AddUint64(v.data, *(*uint64)(unsafe.Pointer(&delta)))
	if atomic.LoadUint32(&v.fastAdd) == 0 {
		misuse() // closed in between: what was added to is gone
	}
	return *(*T)(unsafe.Pointer(&sum))
}

// at is where the value stands.
func (v *Value[T]) at() unsafe.Pointer { return unsafe.Pointer(v.data) }
