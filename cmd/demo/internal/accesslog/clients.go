package accesslog

import (
	"encoding/binary"
	"iter"
	"math/bits"
)

// Clients is a set of byte strings. The zero Clients is empty and ready.
//
// It is made for addresses: what is 1 to 16 bytes long and has no zero byte stands in an
// open-addressing table by value, two words each, so that adding one that is there, which
// is what happens with nearly every line, compares two words in one cache line and
// allocates nothing. Everything else, IPv6 addresses for one, stands in a map.
type Clients struct {
	table []key // its length is a power of two, or zero
	short int   // keys in table
	long  map[string]struct{}
}

// A key is 1 to 16 bytes, none of them zero, padded with zero bytes; so its first word is
// zero in an empty place of the table only.
type key struct{ a, b uint64 }

// Len is the number of clients.
func (c *Clients) Len() int { return c.short + len(c.long) }

// Add puts client into the set. It keeps no reference to it.
func (c *Clients) Add(client []byte) {
	if k, ok := packKey(client); ok {
		c.addKey(k)
		return
	}
	if _, ok := c.long[string(client)]; ok { // does not allocate
		return
	}
	if c.long == nil {
		c.long = make(map[string]struct{})
	}
	c.long[string(client)] = struct{}{}
}

// AddAll puts all clients of d into c.
func (c *Clients) AddAll(d *Clients) {
	for client := range d.All() {
		c.Add(client)
	}
}

// All yields every client once, in no particular order. The bytes are good until the next one.
func (c *Clients) All() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var buf [16]byte
		for _, k := range c.table {
			if k.a == 0 {
				continue
			}
			binary.LittleEndian.PutUint64(buf[:], k.a)
			binary.LittleEndian.PutUint64(buf[8:], k.b)
			n := 16 - (bits.LeadingZeros64(k.b) / 8)
			if k.b == 0 {
				n = 8 - bits.LeadingZeros64(k.a)/8
			}
			if !yield(buf[:n]) {
				return
			}
		}
		for client := range c.long {
			if !yield([]byte(client)) {
				return
			}
		}
	}
}

func (c *Clients) addKey(k key) {
	// At most three quarters full: then a search ends, and soon.
	if c.short >= len(c.table)/4*3 {
		c.grow()
	}
	mask := uint64(len(c.table) - 1)
	for i := k.hash() & mask; ; i = (i + 1) & mask {
		switch c.table[i] {
		case k:
			return
		case key{}:
			c.table[i] = k
			c.short++
			return
		}
	}
}

func (c *Clients) grow() {
	old := c.table
	c.table = make([]key, max(2*len(old), 1024))
	mask := uint64(len(c.table) - 1)
	for _, k := range old {
		if k.a == 0 {
			continue
		}
		i := k.hash() & mask
		for c.table[i] != (key{}) {
			i = (i + 1) & mask
		}
		c.table[i] = k
	}
}

// hash folds the 128-bit product of the two words, each mixed with a constant (digits of
// pi); all bits of the key reach the low bits of the result.
func (k key) hash() uint64 {
	hi, lo := bits.Mul64(k.a^0x243f6a8885a308d3, k.b^0x13198a2e03707344)
	return hi ^ lo
}

// packKey makes a key of client if it can be one.
func packKey(client []byte) (key, bool) {
	if len(client) == 0 || len(client) > 16 {
		return key{}, false
	}
	var buf [16]byte
	copy(buf[:], client)
	for _, c := range client {
		if c == 0 {
			return key{}, false
		}
	}
	return key{binary.LittleEndian.Uint64(buf[:]), binary.LittleEndian.Uint64(buf[8:])}, true
}

// wordPadding is how many bytes after the last one wordKey may look at.
const wordPadding = 16

// wordKey is the client at buf[pos:], if it is 1 to 15 bytes long, followed by a blank or a
// comma, and all of its bytes are greater than a comma, as those of a host name or an
// address are. n is its length. It looks at eight bytes at a time.
func wordKey(buf []byte, pos int) (k key, n int, ok bool) {
	word := binary.LittleEndian.Uint64(buf[pos:])
	if m := notAboveComma(word); m != 0 {
		n = bits.TrailingZeros64(m) / 8
		k.a = word & (1<<(8*n) - 1)
	} else {
		k.a = word
		word = binary.LittleEndian.Uint64(buf[pos+8:])
		m = notAboveComma(word)
		if m == 0 {
			return key{}, 0, false
		}
		n = bits.TrailingZeros64(m) / 8
		k.b = word & (1<<(8*n) - 1)
		n += 8
	}
	switch buf[pos+n] {
	case ' ', ',', '\t':
		return k, n, n > 0
	}
	return key{}, 0, false
}

// notAboveComma has the top bit set of every byte of word that is less than or equal to a
// comma, and of none before the first of these; bits after it mean nothing.
func notAboveComma(word uint64) uint64 {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	return (word - ones*(','+1)) & ^word & tops
}
