//go:build multiproc_explore

package pool

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/explore"
	"github.com/go-multiproc/multiproc/internal/mem"
)

// The model's memory: the words of a board, and the socket on which the worker rings, as a count of its frames.
const (
	atTaskHead = 8 * iota
	atTaskTail
	atResultHead
	atResultTail
	atWorkerWaits
	atParentWaits
	atWorkerFull
	atSocket
	atStates
)

const hungUp = 1 << 16 // on the socket: no more frames come

// Who is who.
const (
	submitter = iota // in the parent, as are all who hold the pool's lock to send and take back
	reader           // in the parent
	workers
)

// What the model notes, for each task and then for all.
const (
	ghostRan  = iota // how often, by task
	ghostBack = ghostRan + 2
	ghostSent = iota + 2
	ghostGot
	ghosts
)

// modelBoard is a board in the model's memory. Records have no content: a reader's memory has the same head everywhere, of a record of no bytes, and nobody reads what is written. So rings are as small as is
// of interest.
func modelBoard(p *explore.Process, tasks, results int) *board {
	buf := func(n int) []byte {
		b := make([]byte, 8*n)
		for i := range n {
			binary.LittleEndian.PutUint32(b[8*i+4:], tagTask)
		}
		return b
	}
	b := &board{
		tasks:       ring{head: p.Word(atTaskHead), tail: p.Word(atTaskTail), buf: buf(tasks)},
		results:     ring{head: p.Word(atResultHead), tail: p.Word(atResultTail), buf: buf(results)},
		workerWaits: p.Word(atWorkerWaits), parentWaits: p.Word(atParentWaits), workerFull: p.Word(atWorkerFull),
	}
	for i := range 2 {
		b.states[i] = p.Word(atStates + 8*i)
	}
	return b
}

// submits sends two tasks, takes back one of them or neither, and tells the worker to end.
func submits(p *explore.Process) {
	b := modelBoard(p, 4, 1)
	send := func() {
		b.tasks.reserve(0)
		b.tasks.commit(tagTask, 0)
		if b.wantsBell() {
			b.bell()
		}
	}
	for i := range uint32(2) {
		p.At(uint64(i))
		b.queue(i, 1)
		p.Note(func(v *explore.View) { v.Ghost.Add(ghostSent, 1) })
		send()
	}
	p.At(2)
	if i := p.Choose(3); i < 2 {
		if b.takeBack(uint32(i), 1) {
			p.Note(func(v *explore.View) { v.Ghost.Add(ghostBack+i, 1) })
		}
	}
	p.At(3)
	send()
	p.At(4)
}

// reads takes results until the worker is gone, and then what it has left behind.
func reads(p *explore.Process) {
	b, socket := modelBoard(p, 4, 1), p.Word(atSocket)
	frames := uint64(0)
	drain := func() {
		for b.results.ready() {
			if _, _, err := b.results.next(); err != nil {
				p.Failf("%v", err)
			}
			p.Note(func(v *explore.View) { v.Ghost.Add(ghostGot, 1) })
			b.results.release()
			b.madeRoom()
			p.At(frames, b.results.at, 1)
		}
	}
	p.Digest(func() []uint64 { return []uint64{frames, b.results.at} })
	for {
		p.At(frames, b.results.at, 2)
		b.parentWaits.Store(nobodySleeps)
		drain()
		if !b.standDown() {
			continue
		}
		// What a read of the socket does.
		for {
			p.At(frames, b.results.at, 3)
			v := socket.Load()
			if v&(hungUp-1) > frames {
				frames++
				break
			}
			gone := v&hungUp != 0
			if !gone && mem.Wait(socket, v, time.Second) == mem.Over {
				gone = !p.Handle().Mapping().Alive(workers + 1) // the kernel would have said so at once
			}
			if gone {
				p.At(frames, b.results.at, 4)
				drain()
				p.At(5)
				return
			}
		}
	}
}

// works is a worker.
func works(p *explore.Process) {
	b, socket := modelBoard(p, 4, 1), p.Word(atSocket)
	ring := func() {
		b.ring(func() {
			socket.Add(1)
			mem.Wake(socket, 1)
		})
	}
	p.Digest(func() []uint64 { return []uint64{b.tasks.at} })
	for n := uint32(0); ; {
		p.At(uint64(n), b.tasks.at)
		tag, _, err := b.tasks.next()
		if err != nil {
			p.Failf("%v", err)
		}
		switch {
		case tag == 0:
			if b.parentWaits.Load() != nobodySleeps {
				ring()
			}
			b.tasks.release()
			b.awaitTask(func() bool { return false })
			continue
		case n == 2: // the last record
			ring()
			p.At(99)
			socket.Or(hungUp)
			mem.Wake(socket, 1)
			return
		}
		task := n
		n++
		p.At(uint64(n), b.tasks.at, 1)
		if !b.begin(task, 1) {
			continue
		}
		p.Note(func(v *explore.View) { v.Ghost.Add(ghostRan+int(task), 1) })
		for {
			p.At(uint64(n), b.tasks.at, 2)
			if b.results.reserve(0) != nil {
				break
			}
			b.awaitRoom(0, ring)
		}
		b.results.commit(tagResult, 0)
	}
}

// Every order of what the parent and a worker do to a board, with the worker's death at any step: each task runs once, or is taken back, never both; what ran has its result in the parent, but for one task
// if the worker died; and nobody sleeps while there is something to do.
func TestExploreBoard(t *testing.T) {
	for _, c := range []struct {
		name             string
		deaths, spurious int
		long             bool
	}{{"a death", 1, 0, false}, {"alive", 0, 0, true}, {"woken for nothing", 0, 1, true}} {
		t.Run(c.name, func(t *testing.T) {
			if c.long && testing.Short() {
				t.Skip("takes long")
			}
			explore.Check(t, explore.Model{
				Name: "pool: board, " + c.name, Size: atStates + 16, Ghost: ghosts, Deaths: c.deaths, Spurious: c.spurious, Slices: 2,
				Actors: []explore.Actor{
					{Name: "submitter", Run: submits, Immortal: true}, {Name: "reader", Run: reads, Immortal: true}, {Name: "worker", Run: works},
				},
				Always: func(v *explore.View) {
					ran := uint64(0)
					for i := range 2 {
						if n := v.Ghost.Get(ghostRan + i); n+v.Ghost.Get(ghostBack+i) > 1 {
							v.Failf("task %d ran %d times, and was taken back %d times", i, n, v.Ghost.Get(ghostBack+i))
						}
						ran += v.Ghost.Get(ghostRan + i)
					}
					if got := v.Ghost.Get(ghostGot); got > ran {
						v.Failf("%d results of %d tasks", got, ran)
					}
				},
				Finally: func(v *explore.View) {
					ran := v.Ghost.Get(ghostRan) + v.Ghost.Get(ghostRan+1)
					back := v.Ghost.Get(ghostBack) + v.Ghost.Get(ghostBack+1)
					got := v.Ghost.Get(ghostGot)
					switch {
					case v.Deaths() == 0 && (ran+back != 2 || got != ran):
						v.Failf("%d tasks ran, %d were taken back, %d results", ran, back, got)
					case ran-got > 1:
						v.Failf("%d tasks ran, and %d results are there: a dead worker costs one", ran, got)
					}
				},
			})
		})
	}
}
