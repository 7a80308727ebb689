package ring

// A Place is the state of one end of the ring:
//
//	bits  0-31  number of messages that passed here, modulo 2^32
//	bits 32-62  position in words of eight bytes, modulo 2^31
//	bit     63  tail: shut, nothing comes any more; head: behind, see next
//
// Both counts wrap. The ring has at most 2^30 words and a message at least two, so
// what is between two ends of one ring is never ambiguous.
type Place uint64

const (
	placeFlag  Place = 1 << 63
	posShift         = 32
	posMask          = 1<<31 - 1
	countMask  Place = 1<<32 - 1
	shut             = placeFlag
	behind           = placeFlag
	maxWords         = 1 << 30
	wordSize         = 8
	headWords        = 2 // of a record
	bigWords         = headWords + 1
	padWords         = 1
	minWords         = 64
	countLimit       = 1 << 31 // more messages than any ring can hold
)

func (p Place) pos() uint64   { return uint64(p>>posShift) & posMask }
func (p Place) count() uint32 { return uint32(p) }
func (p Place) flag() bool    { return p&placeFlag != 0 }

// plain is p without its flag.
func (p Place) plain() Place { return p &^ placeFlag }

// plus is the place words and messages further on, with the same flag.
func (p Place) plus(words uint64, messages uint32) Place {
	return p&placeFlag | Place((p.pos()+words)&posMask)<<posShift | (p+Place(messages))&countMask
}

// since is how far p is ahead of q.
func (p Place) since(q Place) (words uint64, messages uint32) {
	return (p.pos() - q.pos()) & posMask, p.count() - q.count()
}
