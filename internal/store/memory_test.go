package store_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/go-multiproc/multiproc/internal/store"
)

// heapOf is what make leaves on the heap.
func heapOf(make func() any) float64 {
	live := func() float64 {
		runtime.GC()
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return float64(s.HeapAlloc)
	}
	before := live()
	made := make()
	n := live() - before
	runtime.KeepAlive(made)
	return n
}

// A million small entries take at most twice what a plain map takes for them. They are what a client would send: the keys "0" to "999999" in CBOR,
// and small numbers.
func TestMemoryOfAMillionEntries(t *testing.T) {
	if testing.Short() {
		t.Skip("a million entries")
	}
	const n = 1_000_000
	key := func(b []byte, i int) []byte {
		b = append(b[:0], 0x60)
		b = fmt.Append(b, i)
		b[0] += byte(len(b) - 1)
		return b
	}
	plain := heapOf(func() any {
		m := map[string]int{}
		for i := range n {
			m[fmt.Sprint(i)] = i
		}
		return m
	})
	st, s := newSession(t)
	ours := heapOf(func() any {
		id, err := s.Create(store.KindDict, "")
		if err != nil {
			t.Fatal(err)
		}
		d, err := s.Dict(id)
		if err != nil {
			t.Fatal(err)
		}
		var b []byte
		for i := range n {
			b = key(b, i)
			value := binary.BigEndian.AppendUint32([]byte{0x1a}, uint32(i))
			if err := d.Set(store.NoWait, s, b, store.Value{Data: string(value)}); err != nil {
				t.Fatal(err)
			}
		}
		return d
	})
	counted := float64(st.Stats().Memory)
	t.Logf("per entry: a map %.1f bytes, a dict %.1f (%.2f times), counted %.1f", plain/n, ours/n, ours/plain, counted/n)
	if ours > 2*plain {
		t.Errorf("a dict takes %.2f times what a map takes", ours/plain)
	}
	if counted < 0.8*ours || counted > 1.5*ours {
		t.Errorf("counted are %.0f bytes, and it takes %.0f", counted, ours)
	}
}

// The table behind a dict does what a plain map does, in the order in which keys came.
func TestTableAgainstMap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	_, s := newSession(t)
	d, _ := newDict(t, s)
	m := map[string]string{}
	for round := range 40 {
		space := 1 << (4 + round%13) // of keys: tables grow, split, and are emptied again
		for range 3000 {
			key := fmt.Sprint(random.IntN(space))
			if random.IntN(8) < 5-round%5 {
				value := fmt.Sprint(random.Uint32())
				if err := d.Set(store.NoWait, s, []byte(key), store.Value{Data: value}); err != nil {
					t.Fatal(err)
				}
				m[key] = value
				continue
			}
			_, want := m[key]
			if existed, err := d.Delete(store.NoWait, []byte(key)); err != nil || existed != want {
				t.Fatalf("deleting %s: %v, %v; want %v", key, existed, err, want)
			}
			delete(m, key)
		}
		if d.Len() != len(m) {
			t.Fatalf("%d entries, want %d", d.Len(), len(m))
		}
		for key, want := range m {
			if v, ok, err := d.Get(s, []byte(key)); err != nil || !ok || v.Data != want {
				t.Fatalf("%s is %q, %v, %v; want %q", key, v.Data, ok, err, want)
			}
		}
		if _, ok, _ := d.Get(s, []byte("none")); ok {
			t.Fatal("a key that was never set")
		}
	}
}
