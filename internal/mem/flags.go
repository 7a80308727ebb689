package mem

// Flags packs what a Mark needs to know.
func Flags(flags ...bool) (n uint64) {
	for i, f := range flags {
		if f {
			n |= 1 << i
		}
	}
	return n
}
