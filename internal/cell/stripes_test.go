package cell_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/reexec"
)

// sizes that are no words: smaller than one, between words, larger than the
// buffer that complete uses.
var sizes = []int{3, 5, 6, 7, 9, 12, 16, 20, 24, 33, 100, 256, 1001}

func TestStripesKeepNeighboursApart(t *testing.T) {
	for _, size := range sizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			const count = 40
			tb := newTable(t, size, count)
			want := make([]byte, count)
			r := rand.New(rand.NewPCG(1, uint64(size)))
			for range 500 {
				i := r.IntN(count)
				want[i] = byte(r.Uint32())
				tb.put(i, want[i])
				for i, w := range want {
					if b, err := tb.get(i); err != nil || b != w {
						t.Fatalf("element %d is %d, %v; want %d", i, b, err, w)
					}
				}
			}
		})
	}
}

func TestReplace(t *testing.T) {
	tb := newTable(t, 12, 3)
	tb.put(1, 'a')
	cur := make([]byte, 12)
	next := bytes.Repeat([]byte{'b'}, 12)
	check := func(want byte) {
		t.Helper()
		if b, err := tb.get(1); err != nil || b != want {
			t.Errorf("element is %q, %v; want %q", b, err, want)
		}
	}
	tb.Replace(1, cur, next, func() bool { return cur[3] != 'a' })
	check('a')
	tb.Replace(1, cur, next, func() bool { return cur[3] == 'a' })
	check('b')
	if tb.Replace(1, cur, nil, nil); cur[11] != 'b' {
		t.Errorf("read %q", cur)
	}
}

// Each writer has elements of its own, and values of its own, in stripes and
// words that others write to as well.
const writers = 3

func ownValue(writer, n int) byte { return byte(writer*80 + n%80) }

func writtenBy(b byte) int { return int(b) / 80 }

// stormHelper writes to its elements until it is killed.
func stormHelper(args []string) int {
	n := numbers(args)
	size, me := n[0], n[1]
	tb := inheritedTable(size)
	fmt.Println("writing")
	for i := 0; ; i++ {
		tb.put(me+i%(tb.count/writers)*writers, ownValue(me, i))
	}
}

// Readers never see half an element, while writers are killed at random.
func TestStormOfKills(t *testing.T) {
	kills := 30
	if testing.Short() {
		kills = 8
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, c := range []struct{ size, count int }{{3, 3}, {12, 3}, {24, 24}, {100, 3}, {2000, 6}} {
		t.Run(fmt.Sprintf("%d of %d bytes", c.count, c.size), func(t *testing.T) {
			tb := newTable(t, c.size, c.count)
			for i := range c.count {
				tb.put(i, ownValue(i%writers, 0))
			}
			files := tb.file(t)
			ps := make([]*reexec.Process, writers)
			start := func(i int) {
				ps[i] = reexec.Start(t, "storm", files, words(c.size, i)...)
				ps[i].Line()
			}
			for i := range ps {
				start(i)
			}
			stop := make(chan struct{})
			var readers sync.WaitGroup
			for range 2 {
				readers.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						default:
						}
						b, err := tb.get(i % c.count)
						if err != nil {
							t.Error(err)
							return
						}
						if writtenBy(b) != i%c.count%writers {
							t.Errorf("element %d is %d, which only writer %d writes", i%c.count, b, writtenBy(b))
							return
						}
					}
				})
			}
			for range kills {
				i := r.IntN(writers)
				time.Sleep(time.Duration(r.IntN(1000)) * time.Microsecond) // the random moment
				ps[i].Kill()
				start(i)
			}
			for _, p := range ps {
				p.Kill()
			}
			close(stop)
			readers.Wait()
			// Nobody is left who could be waited for.
			for i := range c.count {
				if b, err := tb.get(i); err != nil || writtenBy(b) != i%writers {
					t.Errorf("element %d is %d in the end, %v", i, b, err)
				}
				tb.put(i, 200)
				if b, err := tb.get(i); err != nil || b != 200 {
					t.Errorf("element %d is %d after a Store of 200, %v", i, b, err)
				}
			}
		})
	}
}
