package ring

import (
	"fmt"
	"math"
	"sync/atomic"

	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// The control block of a ring in the segment's meta area. What one side writes
// stands on lines that the other side does not write to, two lines apart, since
// processors fetch lines in pairs.
//
//	offset size
//	     0    8  bytes of the ring, a power of two
//	     8    8  capacity in messages; 0: as many as fit
//	    16    8  bytes of the overflow area, whole pages
//	    24    8  page size that the overflow area counts in
//	    32    8  largest number of deliveries; 0: any
//	    40    8  number of process slots
//	    48    8  1: a large message has waited for room
//	    56   72  zero
//	   128   64  producers' lock
//	   192    8  the head, as a producer last saw it
//	   200    8  overflow: position behind what is in use, in bytes
//	   208   48  zero
//	   256    8  tail
//	   264  120  zero
//	   384   64  consumers' lock
//	   448    8  the tail, as a consumer last saw it
//	   456    8  next: from here on nobody has taken anything; only with behind
//	   464    8  1: there may be returned messages before next
//	   472    8  overflow: position from which on it is in use, in bytes
//	   480    8  number of process slots that were ever used
//	   488    8  dead letters that were dropped for lack of room
//	   496   16  zero
//	   512    8  head
//	   520  120  zero
//	   640    8  eventcount: not empty
//	   648  120  zero
//	   768    8  eventcount: not full
//	   776  120  zero
//	   896    8  eventcount: nothing left to do
//	   904  120  zero
//	  1024       process slots, 64 bytes each: token, number of messages that it took
//	             by Get and has not called TaskDone for, 48 bytes of zero
const (
	ProducersLock = 128
	ConsumersLock = 384
	NotEmpty      = 640
	NotFull       = 768
	Idle          = 896

	slotsOffset = 1024
	slotSize    = 64
	// Slots is how many processes can take messages from a ring at a time.
	Slots = 1024

	// ControlSize is the size of the control block.
	ControlSize = slotsOffset + Slots*slotSize
)

// A Geometry is what a ring was made with.
type Geometry struct {
	Bytes         int // of the ring, a power of two
	Capacity      int // in messages; 0: as many as fit
	Overflow      int // bytes of the overflow area, whole pages
	Page          int
	MaxDeliveries int // 0: any number
}

// Bounds of what can be asked for.
const (
	MinBytes = minWords * wordSize
	MaxBytes = maxWords * wordSize
)

// Init fills the control block of a new ring. meta is zero.
func (g Geometry) Init(meta []byte) {
	for i, v := range []int{g.Bytes, g.Capacity, g.Overflow, g.Page, g.MaxDeliveries, Slots} {
		seg.WordOf(meta[8*i:]).Store(uint64(v))
	}
}

// ReadGeometry reads the control block at the start of meta, and checks that it
// can be true.
func ReadGeometry(meta []byte) (Geometry, error) {
	if len(meta) < ControlSize {
		return Geometry{}, damaged("%d bytes of bookkeeping, instead of %d", len(meta), ControlSize)
	}
	var v [6]uint64
	for i := range v {
		v[i] = seg.WordOf(meta[8*i:]).Load()
	}
	bytes, capacity, overflow, page, deliveries, slots := v[0], v[1], v[2], v[3], v[4], v[5]
	switch {
	case bytes < MinBytes || bytes > MaxBytes || bytes&(bytes-1) != 0:
		return Geometry{}, damaged("a ring of %d bytes", bytes)
	case capacity >= countLimit:
		return Geometry{}, damaged("a capacity of %d messages", capacity)
	case page < 4096 || page > 1<<24 || page&(page-1) != 0 || overflow%page != 0 || overflow > math.MaxInt64/4:
		return Geometry{}, damaged("an overflow area of %d bytes in pages of %d", overflow, page)
	case deliveries > deliveriesMax:
		return Geometry{}, damaged("a limit of %d deliveries", deliveries)
	case slots != Slots:
		return Geometry{}, damaged("%d process slots; this version has %d", slots, Slots)
	}
	return Geometry{int(bytes), int(capacity), int(overflow), int(page), int(deliveries)}, nil
}

// A Ring is a ring as one process sees it.
type Ring struct {
	ring  []mem.Uint64 // the ring by words
	data  []byte       // the same memory
	words uint64       // len(ring)
	mask  uint64
	limit uint32 // messages
	most  uint64 // bytes of payload that are not big
	max   int    // deliveries
	over  overflow

	token uint64
	alive func(token uint64) bool

	tail, headSeen                *mem.Uint64
	head, next, returned, dropped *mem.Uint64
	tailSeen                      *mem.Uint64
	overTail, overHead            *mem.Uint64
	large                         *mem.Uint64
	slotsUsed                     *mem.Uint64
	slots                         []slot
	mine                          atomic.Int32 // own slot, counted from 1; 0: none yet
}

// Memory is where a ring is.
type Memory struct {
	Word  func(off int) *mem.Uint64 // of the control block
	Ring  []mem.Uint64
	Data  []byte // the ring's bytes
	Slots int

	Over     []byte                  // the overflow area
	Allocate func(off, n int) error  // puts memory behind a part of it
	Free     func(off, n int)        // takes it away
	Token    uint64                  // of this process
	Alive    func(token uint64) bool // of other processes
}

// New is a ring with the geometry in the memory.
func New(g Geometry, m Memory) *Ring {
	r := &Ring{
		ring: m.Ring, data: m.Data, words: uint64(len(m.Ring)), mask: uint64(len(m.Ring)) - 1,
		limit: countLimit, max: g.MaxDeliveries,
		over:  overflow{data: m.Over, page: uint64(g.Page), allocate: m.Allocate, free: m.Free},
		token: m.Token, alive: m.Alive,
		large:    m.Word(48),
		headSeen: m.Word(192), overTail: m.Word(200), tail: m.Word(256),
		tailSeen: m.Word(448), next: m.Word(456), returned: m.Word(464), overHead: m.Word(472),
		slotsUsed: m.Word(480), dropped: m.Word(488), head: m.Word(512),
	}
	if g.Capacity > 0 {
		r.limit = uint32(g.Capacity)
	}
	r.most = r.words/2*wordSize - headWords*wordSize
	for i := range m.Slots {
		at := slotsOffset + i*slotSize
		r.slots = append(r.slots, slot{m.Word(at), m.Word(at + 8)})
	}
	return r
}

// Largest is the number of bytes that a message can have.
//
// Of the overflow area it is half: then one that does not run around the end fits
// when nothing is in there, wherever that begins.
func (r *Ring) Largest() int { return max(int(r.most), len(r.over.data)/2) }

// String tells where the ends are, for tests.
func (r *Ring) String() string {
	say := func(p Place) string { return fmt.Sprintf("%d+%d(%v)", p.pos(), p.count(), p.flag()) }
	return fmt.Sprintf("head %s next %s tail %s", say(Place(r.head.Load())), say(Place(r.next.Load())), say(Place(r.tail.Load())))
}

// ends reads both ends and checks that they can be true.
//
// Preconditions: one of the locks is held.
func (r *Ring) distance(h, t Place) (words uint64, messages uint32, err error) {
	words, messages = t.since(h)
	if words > r.words || uint64(messages)*headWords > words || messages == 0 && words != 0 {
		return 0, 0, damaged("%d messages in %d words of %d", messages, words, r.words)
	}
	return words, messages, nil
}
