package store

import (
	"hash/maphash"
	"math/bits"
)

// An index finds the place of a key in a table. The key itself stands only there, so an entry of the index is eight bytes, where a Go map would keep
// the key's header once more, in 24. It is a directory of small tables with open addressing: one that is full is split in two, so
// that growing never stops anybody for long. It is not safe for concurrent use; the zero index is empty.
type index struct {
	directory []*shelf // by the first bits of the hash; several places may have the same shelf
	n         int
}

// A shelf has the entries whose hashes begin alike.
type shelf struct {
	depth uint8 // with how many bits
	n     uint32
	slots []uint64 // hash, and place + 1; 0 is free. A power of two
}

const (
	firstSlots = 8
	maxSlots   = 1024
)

// seed makes it impossible to choose keys that collide.
var seed = maphash.MakeSeed()

// hashOf returns 32 bits: the first choose the shelf, the last the slot.
func hashOf(key []byte) uint32 { return uint32(maphash.Bytes(seed, key) >> 32) }

func hashOfString(key string) uint32 { return uint32(maphash.String(seed, key) >> 32) }

func (x *index) shelf(hash uint32) *shelf {
	depth := bits.TrailingZeros(uint(len(x.directory)))
	return x.directory[uint64(hash)<<depth>>32]
}

// find returns the place of the entry with that hash for which is is true.
func (x *index) find(hash uint32, is func(place uint32) bool) (place uint32, ok bool) {
	if x.n == 0 {
		return 0, false
	}
	s := x.shelf(hash)
	for i := s.home(hash); s.slots[i] != 0; i = s.next(i) {
		if uint32(s.slots[i]>>32) == hash && is(uint32(s.slots[i])-1) {
			return uint32(s.slots[i]) - 1, true
		}
	}
	return 0, false
}

func (s *shelf) home(hash uint32) int { return int(hash) & (len(s.slots) - 1) }
func (s *shelf) next(i int) int       { return (i + 1) & (len(s.slots) - 1) }

// add adds an entry that is not there.
func (x *index) add(hash, place uint32) {
	if len(x.directory) == 0 {
		x.directory = []*shelf{{slots: make([]uint64, firstSlots)}}
	}
	s := x.shelf(hash)
	for int(s.n) >= len(s.slots)-len(s.slots)/4 {
		// Hashes that are all alike cannot be parted; but seven of eight slots are still few enough to search.
		if len(s.slots) < maxSlots || s.depth >= 22 {
			s.grow()
			break
		}
		x.split(s, hash)
		s = x.shelf(hash)
	}
	s.add(uint64(hash)<<32 | uint64(place+1))
	x.n++
}

func (s *shelf) add(slot uint64) {
	i := s.home(uint32(slot >> 32))
	for s.slots[i] != 0 {
		i = s.next(i)
	}
	s.slots[i] = slot
	s.n++
}

func (s *shelf) grow() {
	old := s.slots
	s.slots, s.n = make([]uint64, 2*len(old)), 0
	for _, slot := range old {
		if slot != 0 {
			s.add(slot)
		}
	}
}

// split parts a shelf into two, by one bit more of the hash.
func (x *index) split(s *shelf, hash uint32) {
	depth := bits.TrailingZeros(uint(len(x.directory)))
	if int(s.depth) == depth {
		larger := make([]*shelf, 2*len(x.directory))
		for i, s := range x.directory {
			larger[2*i], larger[2*i+1] = s, s
		}
		x.directory = larger
		depth++
	}
	var halves [2]*shelf
	for i := range halves {
		halves[i] = &shelf{depth: s.depth + 1, slots: make([]uint64, len(s.slots))}
	}
	for _, slot := range s.slots {
		if slot != 0 {
			halves[slot<<s.depth>>63].add(slot)
		}
	}
	// All places of the directory that begin with the shelf's bits.
	each := 1 << (depth - int(s.depth))
	first := int(uint64(hash)<<depth>>32) &^ (each - 1)
	for i := range each {
		x.directory[first+i] = halves[i*2/each]
	}
}

// remove removes the entry with that hash and place.
func (x *index) remove(hash, place uint32) {
	s := x.shelf(hash)
	i := s.home(hash)
	for s.slots[i] != uint64(hash)<<32|uint64(place+1) {
		i = s.next(i)
	}
	// What stands behind it moves up, unless it then stood before where it is looked for; so no mark has to stay.
	for j := s.next(i); s.slots[j] != 0; j = s.next(j) {
		home := s.home(uint32(s.slots[j] >> 32))
		if (j-home)&(len(s.slots)-1) >= (j-i)&(len(s.slots)-1) {
			s.slots[i] = s.slots[j]
			i = j
		}
	}
	s.slots[i] = 0
	s.n--
	x.n--
}
