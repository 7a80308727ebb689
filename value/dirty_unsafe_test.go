package value_test

import "unsafe"

// dirty is a padded with whatever words hold in its padding.
func dirty(words *[2]uint64) *padded { return (*padded)(unsafe.Pointer(words)) }
