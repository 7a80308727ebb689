package wire_test

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/internal/wire"
)

// carry sends n messages of size bytes through a pair and drops them.
func carry(t *testing.T, n, size int) {
	t.Helper()
	a, b := pair(t)
	go func() {
		message := make([]byte, size)
		for range n {
			if a.WriteFrame(message, nil) != nil {
				return
			}
		}
	}()
	for range n {
		if _, _, err := b.ReadFrame(size); err != nil {
			t.Fatal(err)
		}
	}
}

func collections() uint32 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NumGC
}

// resident is the memory that this process has, in bytes.
func resident(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

func TestBallastIsHeldWhileLargePayloadsCome(t *testing.T) {
	const mib = 1 << 20
	withoutBallast(t)
	carry(t, 8, mib)
	if wire.Ballast() {
		t.Error("held for 8 MiB")
	}
	carry(t, 16, mib)
	if !wire.Ballast() {
		t.Fatal("not held after 24 MiB")
	}
	before := collections()
	carry(t, 100, mib)
	if n := collections() - before; n > 12 {
		t.Errorf("%d collections for 100 MiB: as many as without it", n)
	}
	if !wire.Ballast() {
		t.Error("let go while large payloads come")
	}
	withoutBallast(t) // it is let go when they have stopped
}

func TestBallastTakesNoMemory(t *testing.T) {
	withoutBallast(t)
	before := resident(t)
	wire.CountPayload(16 << 20)
	if !wire.Ballast() {
		t.Fatal("not held")
	}
	if more := resident(t) - before; more > 4<<20 {
		t.Errorf("%d KiB more in memory", more>>10)
	}
}

// withoutBallast collects until there is none: soon, since nothing comes.
func withoutBallast(t *testing.T) {
	t.Helper()
	for range 1000 {
		if !wire.Ballast() {
			runtime.GC() // what it counted as live has gone too
			wire.ForgetPayloads()
			return
		}
		runtime.GC()
	}
	t.Fatal("the ballast is held after 1000 collections")
}
