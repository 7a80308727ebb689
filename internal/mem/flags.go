package mem

// Flags packs what a Mark needs to know. In normal builds, it is 0.
func Flags(flags ...bool) (n uint64) {
	if Explored {
		for i, f := range flags {
			if f {
				n |= 1 << i
			}
		}
	}
	return n
}

// Sum packs what was read from shared memory, for Mark. In normal builds, it is 0.
func Sum(b []byte) (sum uint64) {
	if Explored {
		for _, c := range b {
			sum = sum*31 + uint64(c)
		}
	}
	return sum
}
