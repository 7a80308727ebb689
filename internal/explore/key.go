//go:build multiproc_explore

package explore

import "math/bits"

// A key is a hash of what a thread or a process knows. It is wide enough that two
// never are equal by chance.
type key [2]uint64

func (k *key) add(v uint64) {
	x := (k[0] ^ v + 0x632be59bd9b4e019) * 0x9e3779b97f4a7c15
	k[0] = (x ^ x>>32) * 0xd6e8feb86659fd93
	k[0] ^= k[0] >> 29
	y := bits.RotateLeft64(k[1], 23) + (v+0x2545f4914f6cdd1d)*0xc2b2ae3d27d4eb4f
	k[1] = (y ^ y>>31) * 0x165667b19e3779f9
	k[1] ^= k[1] >> 32
}

func (k *key) addString(s string) {
	k.add(uint64(len(s)))
	for len(s) >= 8 {
		var v uint64
		for i := range 8 {
			v |= uint64(s[i]) << (8 * i)
		}
		k.add(v)
		s = s[8:]
	}
	for i := range len(s) {
		k.add(uint64(s[i]))
	}
}
