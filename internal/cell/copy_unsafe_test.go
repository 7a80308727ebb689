package cell

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"unsafe"
)

// Copies of every length at every place within words, and what stands around
// them stays.
func TestCopyAtEveryPlace(t *testing.T) {
	words := make([]uint64, 8)
	mem := memory(unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 64))
	for off := range 17 {
		for n := range 33 {
			for i := range mem {
				mem[i] = byte(i)
			}
			src := bytes.Repeat([]byte{0xee}, n)
			want := bytes.Clone(mem)
			copy(want[off:], src)
			mem.store(off, src)
			if !bytes.Equal(mem, want) {
				t.Fatalf("storing %d bytes at %d: %x, want %x", n, off, mem, want)
			}
			got := make([]byte, n)
			mem.load(off, got)
			if !bytes.Equal(got, src) {
				t.Fatalf("loading %d bytes at %d: %x", n, off, got)
			}
		}
	}
}

// Neighbours that share words write at the same time, and lose nothing.
func TestNeighboursInOneWord(t *testing.T) {
	for _, size := range []int{1, 2, 3, 5, 6, 12} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			const neighbours, times = 3, 5000
			words := make([]uint64, 8)
			mem := memory(unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 64))
			var all sync.WaitGroup
			for i := range neighbours {
				all.Go(func() {
					got := make([]byte, size)
					for n := range times {
						want := bytes.Repeat([]byte{byte(n)}, size)
						mem.store(i*size, want)
						mem.load(i*size, got)
						if !bytes.Equal(got, want) {
							t.Errorf("element %d is %x, want %x", i, got, want)
							return
						}
					}
				})
			}
			all.Wait()
		})
	}
}

func TestPartsOfAWord(t *testing.T) {
	words := make([]uint64, 2)
	for _, size := range []uintptr{1, 2, 4, 8} {
		for off := uintptr(0); off < 8; off += size {
			words[0], words[1] = 0x1111111111111111, 0x1111111111111111
			p := unsafe.Add(unsafe.Pointer(&words[0]), off)
			mask := ^uint64(0) >> (64 - 8*size)
			ones := uint64(0x1111111111111111) & mask
			want := uint64(0x8877665544332211) & mask
			if old := SwapBits(p, size, want); old != ones {
				t.Fatalf("%d bytes at %d: Swap returned %#x", size, off, old)
			}
			if CASBits(p, size, want^1, 0) || !CASBits(p, size, want, ones) {
				t.Fatalf("%d bytes at %d: compare-and-swap went wrong", size, off)
			}
			if sum := AddBits(p, size, mask); sum != ones-1 {
				t.Fatalf("%d bytes at %d: Add of -1 returned %#x", size, off, sum)
			}
			StoreBits(p, size, want)
			if got := LoadBits(p, size); got != want {
				t.Fatalf("%d bytes at %d: %#x, want %#x", size, off, got, want)
			}
			SwapBits(p, size, ones)
			if words[0] != 0x1111111111111111 || words[1] != 0x1111111111111111 {
				t.Fatalf("%d bytes at %d: the neighbours changed: %#x", size, off, words)
			}
		}
	}
}
