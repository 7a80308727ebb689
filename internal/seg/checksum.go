package seg

import (
	"encoding/binary"
	"math/bits"
)

// The two checksums of a footer, in a form that asks nothing of a program's beginning. Packages hash/crc32 and crypto/sha256 do: the one makes
// tables, the other brings a cryptographic module, which initialises itself. Together that is a fifth of the package initialisation of a small program,
// and every child pays for it, also one that never sees a segment. Here are some hundred bytes to be summed up, once for each segment.

// crcNibbles are the remainders of four bits, for the polynomial of CRC-32C.
var crcNibbles = [16]uint32{
	0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
	0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
}

// crc32c returns the CRC-32C (Castagnoli) of b.
func crc32c(b []byte) uint32 {
	crc := ^uint32(0)
	for _, x := range b {
		crc ^= uint32(x)
		crc = crcNibbles[crc&15] ^ crc>>4
		crc = crcNibbles[crc&15] ^ crc>>4
	}
	return ^crc
}

// shaConstants are the first 32 bits of the fractional parts of the cube roots of the first 64 primes.
var shaConstants = [64]uint32{
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}

// sha256 returns the SHA-256 of b (FIPS 180-4).
func sha256(b string) (sum [32]byte) {
	const block = 64
	be := binary.BigEndian
	padded := make([]byte, (len(b)+1+8+block-1)/block*block)
	copy(padded, b)
	padded[len(b)] = 0x80
	be.PutUint64(padded[len(padded)-8:], uint64(len(b))*8)

	// The first 32 bits of the fractional parts of the square roots of the first 8 primes.
	h := [8]uint32{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}
	var w [64]uint32
	for ; len(padded) > 0; padded = padded[block:] {
		for i := range 16 {
			w[i] = be.Uint32(padded[4*i:])
		}
		for i := 16; i < len(w); i++ {
			x, y := w[i-15], w[i-2]
			s0 := bits.RotateLeft32(x, -7) ^ bits.RotateLeft32(x, -18) ^ x>>3
			s1 := bits.RotateLeft32(y, -17) ^ bits.RotateLeft32(y, -19) ^ y>>10
			w[i] = w[i-16] + s0 + w[i-7] + s1
		}
		v := h
		for i := range w {
			a, e := v[0], v[4]
			s1 := bits.RotateLeft32(e, -6) ^ bits.RotateLeft32(e, -11) ^ bits.RotateLeft32(e, -25)
			choice := e&v[5] ^ ^e&v[6]
			t1 := v[7] + s1 + choice + shaConstants[i] + w[i]
			s0 := bits.RotateLeft32(a, -2) ^ bits.RotateLeft32(a, -13) ^ bits.RotateLeft32(a, -22)
			majority := a&v[1] ^ a&v[2] ^ v[1]&v[2]
			v = [8]uint32{t1 + s0 + majority, a, v[1], v[2], v[3] + t1, e, v[5], v[6]}
		}
		for i := range h {
			h[i] += v[i]
		}
	}
	for i, x := range h {
		be.PutUint32(sum[4*i:], x)
	}
	return sum
}
