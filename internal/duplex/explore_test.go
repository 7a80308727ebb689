//go:build multiproc_explore

package duplex

import (
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/explore"
	"github.com/go-multiproc/multiproc/internal/mem"
)

// The model's memory: the ring's words, a bell for each side (a word that counts, where there is a socket), and two bytes
// of data. A bell that was rung before a side looks at its own is lost here, where a socket would keep it: so the model
// is the stricter one. Deaths are left out: the socket tells.
const (
	tailAt = 8 * iota
	headAt
	asleepAt
	stalledAt
	consumerBellAt
	producerBellAt
	dataAt
	modelSize
)

func modelRing(p *explore.Process) ring {
	return ring{
		tail: p.Word(tailAt), head: p.Word(headAt), asleep: p.Word(asleepAt), stalled: p.Word(stalledAt),
		data: p.Handle().Meta()[dataAt : dataAt+2],
	}
}

func chime(bell *mem.Uint64) {
	bell.Add(1)
	mem.Wake(bell, 1)
}

// writes is a producer of the bytes 1 to n, in pieces of that size.
func writes(n, piece int) explore.Actor {
	return explore.Actor{Name: "producer", Run: func(p *explore.Process) {
		w := &producer{ring: modelRing(p)}
		next := 1
		p.Digest(func() []uint64 { return []uint64{w.at, w.taken, uint64(next)} })
		for next <= n {
			p.At(w.at, w.taken, uint64(next))
			var b []byte
			for i := range min(piece, n+1-next) {
				b = append(b, byte(next+i))
			}
			m, bell, err := w.write(b)
			if err != nil {
				p.Failf("write: %v", err)
				return
			}
			if bell {
				chime(p.Word(consumerBellAt))
			}
			next += m
			if m > 0 {
				continue
			}
			seen := p.Word(producerBellAt).Load()
			if !w.stall() {
				mem.Wait(p.Word(producerBellAt), seen, time.Second)
			}
		}
		p.At(99)
	}}
}

// reads is a consumer of them, at most room at a time.
func reads(n, room int) explore.Actor {
	return explore.Actor{Name: "consumer", Run: func(p *explore.Process) {
		r := &consumer{ring: modelRing(p)}
		next := 1
		p.Digest(func() []uint64 { return []uint64{r.at, r.written, uint64(next)} })
		for next <= n {
			p.At(r.at, r.written, uint64(next))
			b := make([]byte, room)
			m, bell, err := r.read(b)
			if err != nil {
				p.Failf("read: %v", err)
				return
			}
			for i := range m {
				if b[i] != byte(next+i) {
					p.Failf("byte %d is %d", next+i, b[i])
				}
			}
			if bell {
				chime(p.Word(producerBellAt))
			}
			next += m
			if m > 0 {
				continue
			}
			seen := p.Word(consumerBellAt).Load()
			if !r.sleep() {
				mem.Wait(p.Word(consumerBellAt), seen, time.Second)
			}
		}
		p.At(99)
	}}
}

func TestExploreRing(t *testing.T) {
	for _, tt := range []struct {
		name               string
		bytes, piece, room int
		spurious           int
	}{
		{"one byte at a time", 4, 1, 1, 1},
		{"pieces larger than the ring", 5, 3, 1, 1},
		{"a reader who takes all", 5, 1, 4, 1},
		{"both large", 6, 3, 4, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			explore.Check(t, explore.Model{
				Name: "rings: " + tt.name, Size: modelSize, Slices: -1, Spurious: tt.spurious,
				Actors: []explore.Actor{writes(tt.bytes, tt.piece), reads(tt.bytes, tt.room)},
			})
		})
	}
}
