package duplex_test

import (
	"errors"
	"testing"

	"github.com/go-multiproc/multiproc/internal/duplex"
)

// FuzzMemory does what the input says between reads and writes of one side: a peer that writes any number into any word. Nothing may panic or hang,
// no read may say that it has more than a ring, and every error is ErrGarbage.
func FuzzMemory(f *testing.F) {
	f.Add([]byte{0, 0, 10, 0, 8, 0, 0, 0})
	f.Add([]byte{0, 0, 255, 255, 9, 0, 0, 0, 5, 1, 1, 1})
	f.Add([]byte{8, 0, 0, 0, 1, 0, 0, 16, 8, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 17, 8, 0, 0, 0})
	c, memory, _ := hostile(f, duplex.MinSize)
	f.Fuzz(func(t *testing.T, steps []byte) {
		clear(memory)
		c.Reset()
		buf := make([]byte, 2*duplex.MinSize)
		for ; len(steps) >= 4; steps = steps[4:] {
			v := uint64(steps[1]) | uint64(steps[2])<<8 | uint64(int8(steps[3]))<<16
			var n int
			var err error
			switch at := steps[0] % 10; at {
			case 8:
				n, _, err = c.Receive(buf[:v%uint64(len(buf))+1], false, false)
			case 9:
				n, err = c.TryWrite(buf[:v%uint64(len(buf))+1])
			default:
				*wordAt(memory[128*int(at):]) = v
			}
			if n < 0 || n > duplex.MinSize {
				t.Fatalf("%d bytes through a ring of %d", n, duplex.MinSize)
			}
			if err != nil && !errors.Is(err, duplex.ErrGarbage) {
				t.Fatal(err)
			}
		}
	})
}
