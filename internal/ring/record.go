package ring

import (
	"fmt"

	"github.com/go-multiproc/multiproc/internal/seg"
)

// ErrDamaged is returned when what stands in the segment contradicts itself.
var ErrDamaged = fmt.Errorf("queue: damaged: %w", seg.ErrFormat)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// Word 0 of a record.
const (
	padFlag     = 1 << 0
	bigFlag     = 1 << 1
	lengthShift = 8
	lengthMask  = 1<<48 - 1
)

// A state is word 1 of a record.
type state uint64

const (
	ready    state = 1 + iota // to be taken
	leased                    // its holder has the token
	done                      // nothing any more
	reserved                  // being written by the process with the token

	kindMask        state = 0xf
	deliveriesShift       = 8
	deliveriesMax         = 1<<16 - 1
	tokenShift            = 24
)

func (s state) kind() state      { return s & kindMask }
func (s state) deliveries() int  { return int(s>>deliveriesShift) & deliveriesMax }
func (s state) token() uint64    { return uint64(s >> tokenShift) }
func (s state) as(k state) state { return s&(deliveriesMax<<deliveriesShift) | k }

func (s state) leasedBy(token uint64) state {
	n := min(s.deliveries()+1, deliveriesMax)
	return leased | state(n)<<deliveriesShift | state(token)<<tokenShift
}

// A Record says where a message is. It was checked: what it refers to is within
// the ring and the overflow area.
type Record struct {
	at    uint64 // offset of word 0
	words uint64 // of the record, without a pad before it
	from  Place  // before the record, and the pad before it
	to    Place  // behind it
	len   uint64 // bytes of payload
	big   bool
	start uint64 // big: position in the overflow area
}

// record reads the record at p, of which the ring has only what is before end.
// pad records before it are passed over.
func (r *Ring) record(p, end Place) (rec Record, err error) {
	err = r.readRecord(&rec, p, end)
	return rec, err
}

// readRecord is record into a variable of the caller's: to copy one takes as long as to
// read it. What was in there counts for nothing.
func (r *Ring) readRecord(rec *Record, p, end Place) error {
	room, messages := end.since(p)
	if messages == 0 || room > r.words {
		return damaged("%d messages in %d words", messages, room)
	}
	rec.from = p
	at := p.pos() & r.mask
	head := r.ring[at].Load()
	if head&padFlag != 0 {
		pad := r.words - at
		if pad >= room || at == 0 {
			return damaged("a pad at word %d, of %d", at, room)
		}
		p, room, at = p.plus(pad, 0), room-pad, 0
		head = r.ring[0].Load()
	}
	length, big := head>>lengthShift&lengthMask, head&bigFlag != 0
	words := r.wordsFor(length, big)
	if head&padFlag != 0 || words > room || words > r.words-at {
		return damaged("a record of %d words at word %d, of %d", words, at, room)
	}
	rec.at, rec.words, rec.len, rec.big = at, words, length, big
	rec.to = p.plus(words, 1)
	if big {
		rec.start = r.ring[at+headWords].Load()
		if !r.over.holds(rec.start, rec.len) {
			return damaged("a message of %d bytes at %d of %d", rec.len, rec.start, len(r.over.data))
		}
	}
	return nil
}

// wordsFor is the size of a record.
func (r *Ring) wordsFor(length uint64, big bool) uint64 {
	if big {
		return bigWords
	}
	return headWords + (length+wordSize-1)/wordSize
}

// Payload is the memory of the message.
func (r *Ring) Payload(rec *Record) []byte {
	if rec.big {
		return r.over.bytes(rec.start, rec.len)
	}
	from := (rec.at + headWords) * wordSize
	return r.data[from : from+rec.len : from+rec.len]
}

// Len is the number of bytes of the message.
func (rec *Record) Len() int { return int(rec.len) }

func (r *Ring) state(rec *Record) state       { return state(r.ring[rec.at+1].Load()) }
func (r *Ring) setState(rec *Record, s state) { r.ring[rec.at+1].Store(uint64(s)) }

// Digest is what a record is, in one number, for mem.Mark.
func (rec *Record) Digest() uint64 { return uint64(rec.from)<<32 ^ uint64(rec.to) ^ rec.at<<40 }
