package array

import (
	"runtime"

	"github.com/go-multiproc/multiproc/internal/cell"
	"github.com/go-multiproc/multiproc/value"
)

// Load returns element i.
func (a *Array[T]) Load(i int) (x T) {
	p := cell.At(a.elems, i)
	if cell.Word[T]() {
		x = cell.FromBits[T](cell.LoadBits(p, cell.SizeOf[T]()))
	} else {
		a.obj.Large.Load(i, cell.Bytes(&x))
	}
	// Only now: the memory of an Array that was closed in between is zero. This
	// also keeps a reachable until here.
	a.use()
	cell.RaceAcquire(p)
	return x
}

// Store sets element i to x.
func (a *Array[T]) Store(i int, x T) {
	p := cell.At(a.elems, i)
	a.use()
	cell.RaceRelease(p)
	if cell.Word[T]() {
		cell.StoreBits(p, cell.SizeOf[T](), cell.ToBits(x)&a.obj.Mask)
		runtime.KeepAlive(a)
	} else {
		a.obj.Large.Store(i, a.wiped(&x))
	}
}

// Swap sets element i to x and returns what it was before.
func (a *Array[T]) Swap(i int, x T) (old T) {
	p := cell.At(a.elems, i)
	a.use()
	cell.RaceRelease(p)
	if cell.Word[T]() {
		old = cell.FromBits[T](cell.SwapBits(p, cell.SizeOf[T](), cell.ToBits(x)&a.obj.Mask))
	} else {
		a.obj.Large.Replace(i, cell.Bytes(&old), a.wiped(&x), nil)
	}
	a.use()
	cell.RaceAcquire(p)
	return old
}

// CompareAndSwap sets element i to x if it is equal to old, and reports whether
// it was. Equal is Go's ==, so a float that is NaN is equal to nothing, and the
// two zeros are equal.
func (a *Array[T]) CompareAndSwap(i int, old, x T) (swapped bool) {
	p := cell.At(a.elems, i)
	a.use()
	cell.RaceRelease(p)
	if cell.Word[T]() {
		bits := cell.ToBits(x) & a.obj.Mask
		for {
			now := cell.LoadBits(p, cell.SizeOf[T]())
			if any(cell.FromBits[T](now)) != any(old) {
				break
			}
			if swapped = cell.CASBits(p, cell.SizeOf[T](), now, bits); swapped {
				break
			}
		}
	} else {
		var now T
		a.obj.Large.Replace(i, cell.Bytes(&now), a.wiped(&x), func() bool {
			swapped = any(now) == any(old)
			return swapped
		})
	}
	a.use()
	cell.RaceAcquire(p)
	return swapped
}

// Add adds delta to element i, in one step, and returns the sum. Integers wrap
// around. To subtract n from an unsigned type, add -n.
func Add[T value.Number](a *Array[T], i int, delta T) (sum T) {
	p := cell.At(a.elems, i)
	a.use()
	cell.RaceRelease(p)
	// 1/2 is 0 just for integers, which the compiler knows.
	if one := T(1); one/2 == 0 {
		sum = cell.FromBits[T](cell.AddBits(p, cell.SizeOf[T](), cell.ToBits(delta)))
	} else {
		for {
			old := cell.LoadBits(p, cell.SizeOf[T]())
			sum = cell.FromBits[T](old) + delta
			if cell.CASBits(p, cell.SizeOf[T](), old, cell.ToBits(sum)) {
				break
			}
		}
	}
	a.use()
	cell.RaceAcquire(p)
	return sum
}

// wiped is the bytes of *x without what Go left in its padding.
func (a *Array[T]) wiped(x *T) []byte { return cell.Wipe(cell.Bytes(x), a.obj.Type.Padding) }

// copyTo fills all with the elements, each of them whole.
func (a *Array[T]) copyTo(all []T) {
	from := 0
	if cell.Word[T]() {
		from = cell.LoadWords(cell.BytesOf(all), a.obj.Data) / int(cell.SizeOf[T]())
	}
	for i := from; i < len(all); i++ {
		all[i] = a.Load(i)
	}
	runtime.KeepAlive(a)
}
