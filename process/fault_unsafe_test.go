package process_test

import "unsafe"

// unmapped points to where no memory is, and no nil pointer either: the runtime does not make a panic of its use.
func unmapped() *int { return (*int)(unsafe.Add(unsafe.Pointer(nil), 0xdead000000)) }
