package value

import (
	"bytes"
	"context"
	"runtime"
	"sync/atomic"

	"github.com/go-multiproc/multiproc/internal/cell"
	"github.com/go-multiproc/multiproc/internal/lock"
)

// load is Load without the short cut.
func (v *Value[T]) load() (x T) {
	if cell.Word[T]() {
		x = cell.FromBits[T](cell.LoadBits(v.at(), cell.SizeOf[T]()))
	} else {
		v.obj.Large.Load(0, cell.Bytes(&x))
	}
	v.use()
	cell.RaceAcquire(v.at())
	return x
}

// store is Store without the short cut.
func (v *Value[T]) store(x T) {
	v.use()
	cell.RaceRelease(v.at())
	if cell.Word[T]() {
		cell.StoreBits(v.at(), cell.SizeOf[T](), cell.ToBits(x)&v.obj.Mask)
		runtime.KeepAlive(v)
		return
	}
	v.obj.Large.Store(0, cell.Wipe(cell.Bytes(&x), v.obj.Type.Padding))
}

// Swap sets the value and returns what it was before.
func (v *Value[T]) Swap(x T) (old T) {
	v.use()
	cell.RaceRelease(v.at())
	if cell.Word[T]() {
		old = cell.FromBits[T](cell.SwapBits(v.at(), cell.SizeOf[T](), cell.ToBits(x)&v.obj.Mask))
	} else {
		v.obj.Large.Replace(0, cell.Bytes(&old), cell.Wipe(cell.Bytes(&x), v.obj.Type.Padding), nil)
	}
	v.use()
	cell.RaceAcquire(v.at())
	return old
}

// CompareAndSwap sets the value to x if it is equal to old, and reports whether
// it was. Equal is Go's ==, so a float that is NaN is equal to nothing, and the
// two zeros are equal.
func (v *Value[T]) CompareAndSwap(old, x T) (swapped bool) {
	v.use()
	cell.RaceRelease(v.at())
	switch {
	case !cell.Word[T]():
		var now T
		v.obj.Large.Replace(0, cell.Bytes(&now), cell.Wipe(cell.Bytes(&x), v.obj.Type.Padding), func() bool {
			swapped = any(now) == any(old)
			return swapped
		})
	case v.obj.Type.Bitwise:
		swapped = cell.CASBits(v.at(), cell.SizeOf[T](), cell.ToBits(old), cell.ToBits(x))
	default:
		swapped = v.casEqual(old, x)
	}
	v.use()
	cell.RaceAcquire(v.at())
	return swapped
}

// casEqual is CompareAndSwap of a word whose equality is not that of its bits.
func (v *Value[T]) casEqual(old, x T) bool {
	bits := cell.ToBits(x) & v.obj.Mask
	for {
		now := cell.LoadBits(v.at(), cell.SizeOf[T]())
		if any(cell.FromBits[T](now)) != any(old) {
			return false
		}
		if cell.CASBits(v.at(), cell.SizeOf[T](), now, bits) {
			return true
		}
	}
}

// Update sets the value to f of what it is, and returns what it set. It takes the
// guard, so that nobody is in between who works under Mutex, and still loses no
// Add, Store or Swap, which take no guard: then f runs again. f must not lock the
// guard, nor close v. If f panics, nothing is changed.
//
// It waits for the guard as long as ctx allows; a free one is taken without a
// look at ctx. When it returns an error, nothing was changed: psync.ErrOwnerDied
// if the guard is abandoned, ctx's own error, or what else the guard returns. If
// the guard is one from Options, and was taken away by an operator meanwhile, the
// value is set all the same, and the error is psync.ErrLockLost.
func (v *Value[T]) Update(ctx context.Context, f func(T) T) (x T, err error) {
	// A process that dies in here leaves the old value or the new one, which is
	// why the hold is not one of user code. The guard's own lock is taken without
	// the detour by way of Guard, which is a tenth of all that Update costs.
	g := v.object().Guard
	if g.Lock != nil {
		err = g.Lock.Lock(ctx, lock.Scoped)
	} else {
		err = g.Acquire(ctx, lock.Scoped)
	}
	if err != nil {
		return x, kind.Explain(err)
	}
	done := false
	defer func() {
		if !done { // f panicked or called runtime.Goexit
			_ = g.Release()
		}
	}()
	if cell.Word[T]() {
		x = v.updateWord(f)
	} else {
		x = v.updateLarge(f)
	}
	done = true
	if g.Lock != nil {
		err = g.Lock.Unlock()
	} else {
		err = g.Release()
	}
	if err != nil {
		return x, kind.Explain(err)
	}
	return x, nil
}

func (v *Value[T]) updateWord(f func(T) T) T {
	for cell.SizeOf[T]() == 8 { // the same as below, without two calls
		old := atomic.LoadUint64(v.data)
		x := f(cell.FromBits[T](old))
		if atomic.CompareAndSwapUint64(v.data, old, cell.ToBits(x)&v.obj.Mask) {
			return x
		}
	}
	for {
		old := cell.LoadBits(v.at(), cell.SizeOf[T]())
		x := f(cell.FromBits[T](old))
		if cell.CASBits(v.at(), cell.SizeOf[T](), old, cell.ToBits(x)&v.obj.Mask) {
			return x
		}
	}
}

func (v *Value[T]) updateLarge(f func(T) T) T {
	var old, now T
	for {
		v.obj.Large.Load(0, cell.Bytes(&old))
		next := f(old)
		same := false
		// By its bytes, like a word: then a NaN in it is no reason to try for ever.
		v.obj.Large.Replace(0, cell.Bytes(&now), cell.Wipe(cell.Bytes(&next), v.obj.Type.Padding), func() bool {
			same = bytes.Equal(cell.Bytes(&now), cell.Bytes(&old))
			return same
		})
		if same {
			return next
		}
	}
}

// add is Add without the short cut.
func add[T Number](v *Value[T], delta T) (sum T) {
	v.use()
	cell.RaceRelease(v.at())
	// 1/2 is 0 just for integers, which the compiler knows.
	if one := T(1); one/2 == 0 {
		sum = cell.FromBits[T](cell.AddBits(v.at(), cell.SizeOf[T](), cell.ToBits(delta)))
	} else {
		sum = addFloat(v, delta)
	}
	v.use()
	cell.RaceAcquire(v.at())
	return sum
}

func addFloat[T Number](v *Value[T], delta T) T {
	for {
		old := cell.LoadBits(v.at(), cell.SizeOf[T]())
		sum := cell.FromBits[T](old) + delta
		if cell.CASBits(v.at(), cell.SizeOf[T](), old, cell.ToBits(sum)) {
			return sum
		}
	}
}
