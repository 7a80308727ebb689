package journal

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"

	"github.com/go-multiproc/multiproc/internal/crash"
)

// A stage is a file in memory that this process shares with the kernel (mmap(2), MAP_SHARED). A record that was copied into it is in the
// page cache, exactly as after a write(2), and so outlives this process's death at any moment; but the copy takes some nanoseconds, where
// a write takes longer than all else that a call does. What is staged is written to the log, many records at a time, when there is much of it, and before a sync.
// After a kill, [Open] finds what was staged and not yet written.
//
// The stage says nothing about what the disk has: a sync writes the log, and syncs that. It is no second log either: what stands in it counts only as
// far as it goes on, without a gap, where the log ends.
//
// It has two halves, used in turn: while one is written to the log the other takes what comes meanwhile. Each holds a chain of entries from its
// beginning on:
//
//	length of the data (4 bytes), checksum of all that follows (4), generation (8), place in the stream (8), data; zeros up to a multiple of 8
//
// all big-endian. A chain ends where no whole entry follows that has the generation of the first and goes on where the one before it ended:
// there something else stands from an earlier turn, or half an entry, whose writer was killed. The generation is drawn anew by each Open. Without it a power cut, which may keep
// any of the pages, could join what two processes wrote.
//
// Memory behind which there is no disk is a SIGBUS for whoever touches it: somebody has cut the file, or a disk failed, or a file system that writes
// nothing in place is full. That ends the stage, and each Flush writes to the log again. So it does where there is no stage in the first place.
type stage struct {
	// Guarded by Journal.mu.
	memory     []byte // nil: there is none
	gone       bool   // writing to it failed
	on         bool   // all records that are not in the log are staged, and the next one may be
	active     int    // the half in use
	used       int    // bytes of it
	generation uint64
	table      *crc32.Table
	summed     [stagedHead - 8]byte // of the head that is written, for its checksum: a variable would be allocated each time, since crc32 calls what does it indirectly
}

const (
	stageName    = "stage"
	stageFormat  = "multiproc-stage" // and then the version, in a byte
	stageVersion = 1
	stageHead    = 4096 // before the halves; the rest of it is zero

	// stageHalf bounds what can be staged in one record.
	stageHalf = 64 << 10
	// stageDue is from where on a Flush writes what is staged. That takes some 20 µs: who waits for an answer meanwhile still looks for it
	// (see package duplex), and need not be woken. To have it done beside is better for large records only: one at a time, those who call
	// and those who answer use the CPUs.
	stageDue  = 32 << 10
	stageSize = stageHead + 2*stageHalf

	stagedHead = 24 // of an entry
)

// half returns the memory of a half.
func half(memory []byte, i int) []byte {
	from := stageHead + i*stageHalf
	return memory[from : from+stageHalf : from+stageHalf]
}

// add stages a record that stands at that place of the stream, or reports that it did not.
func (s *stage) add(at uint64, record []byte) bool {
	if !s.on {
		return false
	}
	s.on = s.put(s.active, s.used, at, record)
	return s.on
}

// put writes an entry, if there is room for it, and makes that half the active one.
func (s *stage) put(i, used int, at uint64, data []byte) (ok bool) {
	size := stagedSize(len(data))
	if s.memory == nil || size > stageHalf-used {
		return false
	}
	defer func(before bool) {
		debug.SetPanicOnFault(before)
		if !ok {
			s.fault(recover())
		}
	}(debug.SetPanicOnFault(true))
	binary.BigEndian.PutUint64(s.summed[:], s.generation)
	binary.BigEndian.PutUint64(s.summed[8:], at)
	e := half(s.memory, i)[used : used+size]
	// Number by number: copied from memory that was written a moment ago in other pieces, it would have to wait for that.
	binary.BigEndian.PutUint32(e, uint32(len(data)))
	binary.BigEndian.PutUint32(e[4:], stagedSum(s.table, s.summed[:], data))
	binary.BigEndian.PutUint64(e[8:], s.generation)
	binary.BigEndian.PutUint64(e[16:], at)
	crash.At("journal.staging")
	clear(e[stagedHead+copy(e[stagedHead:], data):])
	crash.At("journal.staged")
	s.active, s.used = i, used+size
	return true
}

// fault ends the stage after a write to memory that was not there.
func (s *stage) fault(p any) {
	if _, ok := p.(interface{ Addr() uintptr }); !ok { // see debug.SetPanicOnFault
		panic(p)
	}
	s.on = false
	s.gone = true
}

// turn makes the other half the active one, since what stands in this one is about to be written.
func (s *stage) turn() {
	if s.on {
		s.active, s.used = 1-s.active, 0
	}
}

// stop has nothing staged any more, after a write that failed: what stands in both halves is still needed.
func (s *stage) stop() { s.on = false }

// resume has records staged again after a write, before whose beginning they were not, or in the course of which there was no room for them any more.
// pending is what has come meanwhile, from that place of the stream on. It goes into the half in which nothing stands that is not written.
func (s *stage) resume(at uint64, pending []byte) {
	if s.on || s.memory == nil || s.gone {
		return
	}
	if len(pending) == 0 {
		s.active, s.used, s.on = 1-s.active, 0, true
		return
	}
	s.on = s.put(1-s.active, 0, at, pending)
}

func stagedSize(n int) int { return stagedHead + (n+7)&^7 }

func stagedSum(t *crc32.Table, head, data []byte) uint32 {
	return crc32.Update(crc32.Update(0, t, head), t, data)
}

// A staged is an entry of the stage.
type staged struct {
	at   uint64
	data []byte
}

// A chain is what stands in one half of a stage.
type chain []staged

func (c chain) start() uint64 { return c[0].at }

// readChain reads a half.
func readChain(b []byte) (c chain) {
	var generation, next uint64
	for len(b) >= stagedHead {
		n := uint64(binary.BigEndian.Uint32(b))
		if n == 0 || n > uint64(len(b)-stagedHead) || stagedSum(castagnoli(), b[8:stagedHead], b[stagedHead:stagedHead+n]) != binary.BigEndian.Uint32(b[4:]) {
			break
		}
		g, at := binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])
		if len(c) > 0 && (g != generation || at != next) || at+n < at {
			break
		}
		generation, next = g, at+n
		c = append(c, staged{at, b[stagedHead : stagedHead+n]})
		b = b[min(len(b), stagedSize(int(n))):]
	}
	return c
}

// readStage reads the stage in a directory: its chains, in the order of the stream.
func readStage(dir string) (chains []chain, err error) {
	b, err := readUpTo(filepath.Join(dir, stageName), stageSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	n := len(stageFormat)
	switch {
	case len(b) <= n || bytes.Count(b[:n+1], []byte{0}) == n+1: // it was being made
		return nil, nil
	case string(b[:n]) != stageFormat:
		return nil, fmt.Errorf("%w: %s is not as it was written", ErrDamaged, stageName)
	case b[n] != stageVersion:
		return nil, fmt.Errorf("%w: %s has format %d, and this program reads format %d", ErrVersion, stageName, b[n], stageVersion)
	}
	for i := range 2 {
		if from := stageHead + i*stageHalf; from < len(b) {
			if c := readChain(b[from:min(len(b), from+stageHalf)]); len(c) > 0 {
				chains = append(chains, c)
			}
		}
	}
	slices.SortFunc(chains, func(a, b chain) int { return cmp.Compare(a.start(), b.start()) })
	return chains, nil
}

func readUpTo(name string, n int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, n))
}

// openStage makes the stage of a directory, or takes the one that is there, in which nothing stands any more that is needed. Without one, each Flush
// writes to the log: so where files cannot be mapped, and where there is no space for it.
func openStage(dir string) (s stage) {
	name := filepath.Join(dir, stageName)
	memory, err := makeStage(name)
	if err != nil {
		os.Remove(name)
		return stage{}
	}
	return stage{memory: memory, generation: rand.Uint64(), table: castagnoli(), active: 1} // the first to be used is the other one
}

// leaveStage lets go of the stage; remove says that nothing in it is needed.
func (j *Journal) leaveStage(remove bool) {
	j.mu.Lock()
	j.stopStageLocked()
	memory := j.stage.memory
	j.stage = stage{}
	j.mu.Unlock()
	if memory != nil {
		unmapStage(memory)
	}
	if remove {
		os.Remove(filepath.Join(j.dir, stageName))
	}
}
