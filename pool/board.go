package pool

import (
	"encoding/binary"

	"github.com/go-multiproc/multiproc/internal/mem"
	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/shm"
)

// A board is the memory that the parent and one worker share:
//
//	   0  positions of the two rings, and words about who waits, 64 bytes apart
//	1024  the state words of the tasks that the worker has been sent, one per slot
//	 16K  ring of tasks
//	144K  ring of results
//
// A slot's state word is generation<<2 | state. The parent writes QUEUED under a new generation before it sends the task; the worker makes
// that RUNNING, or the parent makes it TAKEN, by compare-and-swap, so that a task is run or taken back and never both. Of a slot that has a new task,
// a record with an older generation is void.
type board struct {
	segment *shm.Segment

	tasks, results ring

	workerWaits *mem.Uint64 // 1: the worker is about to sleep and wants a bell for the next task
	parentWaits *mem.Uint64 // one of the following: the same of the parent, for results
	workerFull  *mem.Uint64 // 1: the worker has no room for a result and wants a bell when there is
	since       *mem.Uint64 // when the task that runs began, on the monotonic clock, if it has a time limit

	states [slots]*mem.Uint64
}

const (
	slots     = 1024 // tasks that a worker can have at once
	statesAt  = 1 << 10
	ringSize  = 128 << 10
	tasksAt   = 16 << 10
	resultsAt = tasksAt + ringSize
	boardSize = resultsAt + ringSize

	// inline is the size of the largest message that travels in a ring. Larger ones, and those with descriptors, go over the socket, which has nothing else for the worker.
	inline = ringSize / 4
)

// Who in the parent wants a bell, and which one.
const (
	nobodySleeps uint64 = iota
	readerSleeps        // in the poller: a frame
	callerSleeps        // on the word itself: a futex
)

// States of a task.
const (
	taken uint64 = iota // back, by the parent; or there never was one
	queued
	running
)

func stateWord(generation, state uint64) uint64 { return generation<<2 | state }

func newBoard(s *shm.Segment) *board {
	m := s.Bytes()
	word := func(at int) *mem.Uint64 { return seg.WordOf(m[at:]) }
	b := &board{
		segment:     s,
		tasks:       ring{head: word(0), tail: word(64), buf: m[tasksAt:][:ringSize]},
		results:     ring{head: word(128), tail: word(192), buf: m[resultsAt:][:ringSize]},
		workerWaits: word(256),
		parentWaits: word(320),
		workerFull:  word(384),
		since:       word(448),
	}
	for i := range b.states {
		b.states[i] = word(statesAt + 8*i)
	}
	return b
}

// Tags of records.
const (
	tagTask     = 1 // taskHeader, arguments
	tagExternal = 2 // taskHeader; the arguments follow on the socket
	tagStop     = 3 // the worker's last record
	tagResult   = 4 // resultHeader, result
)

// First bytes of frames on the socket.
const (
	frameBell   = 'b' // look at the memory; to the parent
	frameResult = 'r' // and a resultHeader; the next frame is the result
	frameReady  = 'i' // and the error of the initialiser, if there was one
	frameCancel = 'c' // slot, generation; on the control socket
)

// A taskHeader describes a task to a worker.
type taskHeader struct {
	slot       uint32
	task       uint32 // in the list of registrations that the worker was given
	generation uint64
	timeout    int64 // ns, 0 is none
	many       bool  // the arguments are a slice of them, a chunk of a map
}

const headerSize = 32

func (h *taskHeader) put(b []byte) {
	binary.LittleEndian.PutUint32(b, h.slot)
	binary.LittleEndian.PutUint32(b[4:], h.task)
	binary.LittleEndian.PutUint64(b[8:], h.generation)
	binary.LittleEndian.PutUint64(b[16:], uint64(h.timeout))
	clear(b[24:headerSize])
	if h.many {
		b[24] = 1
	}
}

func (h *taskHeader) get(b []byte) bool {
	if len(b) < headerSize {
		return false
	}
	h.slot = binary.LittleEndian.Uint32(b)
	h.task = binary.LittleEndian.Uint32(b[4:])
	h.generation = binary.LittleEndian.Uint64(b[8:])
	h.timeout = int64(binary.LittleEndian.Uint64(b[16:]))
	h.many = b[24] == 1
	return h.slot < slots
}

// A resultHeader says how a task ended.
type resultHeader struct {
	slot       uint32
	failed     bool // what follows is a failure, not a result
	generation uint64
	took       int64 // ns
}

const resultSize = 24

func (h *resultHeader) put(b []byte) {
	binary.LittleEndian.PutUint32(b, h.slot)
	binary.LittleEndian.PutUint32(b[4:], 0)
	if h.failed {
		b[4] = 1
	}
	binary.LittleEndian.PutUint64(b[8:], h.generation)
	binary.LittleEndian.PutUint64(b[16:], uint64(h.took))
}

func (h *resultHeader) get(b []byte) bool {
	if len(b) < resultSize {
		return false
	}
	h.slot = binary.LittleEndian.Uint32(b)
	h.failed = b[4] == 1
	h.generation = binary.LittleEndian.Uint64(b[8:])
	h.took = int64(binary.LittleEndian.Uint64(b[16:]))
	return h.slot < slots
}
