package handover_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/handover"
)

type job struct {
	Mu *sync.Mutex
	N  int
}

type hidden struct {
	N     int
	cache map[string]int
}

type hiddenLock struct{ mu sync.Mutex }

type small struct{ x int }

type embedsSmall struct{ *small }

type stringer struct{}

func (stringer) String() string { return "" }

// Nobody else looks at these fields: being there is all they do.
var _ = []any{hidden{}.cache, &(&hiddenLock{}).mu, small{}.x, embedsSmall{}.small}

func TestRefusals(t *testing.T) {
	type in[T any] struct{ F T }
	type inAny = in[any]
	x := 1
	for _, c := range []struct {
		name string
		v    any
		want string
	}{
		{"issue's example", struct{ Jobs []job }{[]job{{}, {}, {}, {Mu: new(sync.Mutex)}}},
			"args.Jobs[3].Mu: a sync.Mutex cannot be passed to another process; use psync.Mutex"},
		{"Mutex", in[sync.Mutex]{}, "args.F: a sync.Mutex cannot be passed to another process; use psync.Mutex"},
		{"embedded Mutex", &struct {
			*sync.Mutex
			N int
		}{Mutex: new(sync.Mutex)}, "args.Mutex: a sync.Mutex"},
		{"unexported Mutex", &hiddenLock{}, "args.mu: a sync.Mutex cannot be passed to another process; use psync.Mutex"},
		{"RWMutex", in[map[string]*sync.RWMutex]{map[string]*sync.RWMutex{"key": {}}}, `args.F["key"]: a sync.RWMutex`},
		{"WaitGroup", in[*sync.WaitGroup]{new(sync.WaitGroup)}, "args.F: a sync.WaitGroup cannot be passed to another process; use psync.Barrier"},
		{"Once", in[sync.Once]{}, "use psync.Once"},
		{"Cond", in[*sync.Cond]{sync.NewCond(new(sync.Mutex))}, "use psync.Cond"},
		{"Map", in[sync.Map]{}, "use manager.Dict"},
		{"Pool", in[sync.Pool]{}, "args.F: a sync.Pool cannot"},
		{"Locker", in[sync.Locker]{new(sync.Mutex)}, "args.F: a sync.Locker cannot be passed to another process; use *psync.Mutex"},
		{"atomic.Int64", in[atomic.Int64]{}, "args.F: an atomic.Int64 cannot be passed to another process; use value.Value[int64]"},
		{"atomic.Pointer", in[atomic.Pointer[int]]{}, "args.F: an atomic.Pointer[int] cannot"},
		{"atomic.Value", in[*atomic.Value]{new(atomic.Value)}, "use value.Value"},

		{"unexported", hidden{}, "args.cache: an unexported field cannot be passed to another process; export it, leave it out with the tag `cbor:\"-\"`, or give handover_test.hidden the methods"},
		{"unexported behind", in[[]*hidden]{[]*hidden{nil, {}}}, "args.F[1].cache: an unexported field"},
		{"another package's", in[*slog.Logger]{slog.Default()}, "args.F.handler: an unexported field cannot be passed to another process; pass what it takes to make a slog.Logger there"},
		{"embedded pointer", embedsSmall{}, "args.small: an embedded pointer to the unexported handover_test.small"},

		{"chan", in[chan int]{}, "args.F: a chan int cannot be passed to another process; use queue.Queue or pipe.Conn"},
		{"receive chan", in[<-chan int]{make(chan int)}, "args.F: a <-chan int"},
		{"func", in[func()]{func() {}}, "args.F: a func() cannot be passed to another process; register"},
		{"func in map", in[map[int]func()]{map[int]func(){5: nil}}, "args.F[5]: a func()"},
		{"complex", in[complex128]{}, "args.F: a complex128 cannot be passed to another process; use two"},
		{"top-level func", func() {}, "args: a func() cannot"},

		{"handle by value", in[box]{}, "args.F: a handover_test.box by value cannot be passed to another process; use *handover_test.box"},
		{"handles by value", in[[]cell[int]]{make([]cell[int], 1)}, "args.F[0]: a handover_test.cell[int] by value"},
		{"file by value", in[os.File]{}, "args.F: an os.File by value"},
		{"handle as key", in[map[*box]int]{map[*box]int{}}, "args.F: a map[*handover_test.box]int cannot be passed to another process: its keys are addresses"},
		{"handle in key", in[map[struct{ B *box }]int]{map[struct{ B *box }]int{}}, "the keys of a map cannot hold handles"},
		{"array of handles as key", in[map[[1]*box]int]{map[[1]*box]int{}}, "the keys of a map cannot hold handles"},
		{"pointer as key", in[map[*int]int]{map[*int]int{&x: 1}}, "args.F: a map[*int]int cannot be passed to another process: its keys are addresses"},
		{"any key", in[map[any]int]{map[any]int{5: 1}}, "args.F[5]: the key 5 cannot be passed to another process: a map with keys of any type keeps"},
		{"interface key", in[map[fmt.Stringer]int]{map[fmt.Stringer]int{}}, "its keys are of any type; use a concrete key type"},

		{"handle in any", inAny{newBox(t, "b")}, "args.F: a *handover_test.box inside an any cannot be passed to another process: it would arrive as something else; give the field its type"},
		{"file in any", inAny{os.Stdin}, "args.F: a *os.File inside an any"},
		{"struct in any", inAny{small{}}, "args.F: a handover_test.small inside an any cannot be passed to another process: it would arrive as a map[string]any"},
		{"struct pointer in any", inAny{&list{}}, "args.F: a *handover_test.list inside an any"},
		{"structs in any", inAny{[]any{1, map[string]any{"k": []list{{}}}}}, `args.F[1]["k"][0]: a handover_test.list inside an any`},
		{"pointer in any", inAny{&x}, "args.F: a *int inside an any cannot be passed to another process: it would arrive as what it points to"},
		{"int keys in any", inAny{map[int]int{}}, "args.F: a map[int]int inside an any"},
		{"marshaler in any", inAny{netip.Addr{}}, "args.F: a netip.Addr inside an any"},
		{"Mutex in any", inAny{new(sync.Mutex)}, "args.F: a sync.Mutex cannot be passed to another process; use psync.Mutex"},
		{"chan in any", inAny{[]any{make(chan int)}}, "args.F[0]: a chan int cannot"},
		{"complex in any", inAny{1i}, "args.F: a complex128 cannot"},
		{"context in any", inAny{context.Background()}, "args.F: a context.Context cannot be passed to another process; the function gets its own"},

		{"error", in[error]{os.ErrClosed}, "args.F: an error cannot be passed to another process; use a string, or a concrete type"},
		{"Stringer", in[[]fmt.Stringer]{[]fmt.Stringer{nil, stringer{}}}, "args.F[1]: a fmt.Stringer cannot be passed to another process; use the concrete type"},
		{"Context", in[context.Context]{context.Background()}, "args.F: a context.Context cannot be passed to another process; the function gets its own"},

		{"same name", struct {
			A int `cbor:"x"`
			B int `cbor:"x"`
		}{}, "args.B: a field that has the name of another, A, cannot"},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkFDs(t)
			_, err := handover.Marshal(c.v, "args")
			mustFail(t, err, c.want)
		})
	}
}

func TestNoHandles(t *testing.T) {
	o := handover.NoHandles("be put in a queue")
	b := newBox(t, "b")
	for _, c := range []struct {
		v    any
		want string
	}{
		{struct{ Conn *box }{b}, "v.Conn: a *handover_test.box cannot be put in a queue"},
		{struct{ F *os.File }{os.Stdin}, "v.F: a *os.File cannot be put in a queue"},
		{[]net.Conn{nil, &net.TCPConn{}}, "v[1]: a *net.TCPConn cannot be put in a queue"},
		{[]any{b}, "v[0]: a *handover_test.box cannot be put in a queue"},
		{struct{ C chan int }{}, "v.C: a chan int cannot be put in a queue"},
		{struct{ M *sync.Mutex }{new(sync.Mutex)}, "v.M: a sync.Mutex cannot be put in a queue"},
	} {
		_, err := handover.Marshal(c.v, "v", o)
		if err == nil || err.Error() != c.want {
			t.Errorf("%T: %v, want %s", c.v, err, c.want)
		}
	}
	if _, err := handover.Marshal(struct {
		B *box
		N int
	}{}, "v", o); err != nil {
		t.Errorf("nil handle: %v", err)
	}
}

func TestNoDescriptors(t *testing.T) {
	checkFDs(t)
	o := handover.NoDescriptors("be sent over TCP")
	b := newBox(t, "b")
	for _, c := range []struct {
		v    any
		want string
	}{
		{struct{ B *box }{b}, "v.B: a *handover_test.box cannot be sent over TCP: it needs a file descriptor"},
		{struct{ F []*os.File }{[]*os.File{os.Stdin}}, "v.F[0]: a *os.File cannot be sent over TCP: it needs a file descriptor"},
	} {
		_, err := handover.Marshal(c.v, "v", o)
		if err == nil || err.Error() != c.want {
			t.Errorf("%T: %v, want %s", c.v, err, c.want)
		}
	}
	if _, err := handover.Marshal(&cell[int]{5}, "v", o); err != nil {
		t.Errorf("a handle without a descriptor: %v", err)
	}
}

// What is refused nowhere, and must not be by accident.
func TestNotRefused(t *testing.T) {
	type all struct {
		Err     error
		Ctx     context.Context
		Mu      *sync.Mutex
		Lock    sync.Locker
		Skipped func() `cbor:"-"`
		hidden  int    `cbor:"-"`
		_       int
		Ptr     uintptr
		When    time.Time
		Addr    netip.AddrPort
		URL     *url.URL
		Big     *big.Int
		Float   big.Float
		Any     any
	}
	in := all{
		Skipped: func() {}, hidden: 5, Ptr: 7, When: time.Unix(1, 5).UTC(), Addr: netip.MustParseAddrPort("[::1]:5"),
		URL: &url.URL{Scheme: "http", Host: "h"}, Big: big.NewInt(-9), Float: *big.NewFloat(1.5),
		Any: map[string]any{
			"n": 1, "u": uint8(2), "s": "x", "b": []byte{1}, "l": []string{"a"}, "m": map[string][]int{"k": {1}}, "t": time.Unix(2, 0).UTC(),
			"f": float32(1.5), "nil": nil, "big": big.NewInt(3), "d": time.Second, "p": uintptr(9),
		},
	}
	out := cross(t, in)
	if out.Skipped != nil || out.hidden != 0 {
		t.Error(`a field tagged cbor:"-" arrived`)
	}
	if out.Ptr != 7 || !out.When.Equal(in.When) || out.Addr != in.Addr || *out.URL != *in.URL || out.Big.Cmp(in.Big) != 0 || out.Float.Cmp(&in.Float) != 0 {
		t.Errorf("arrived as %+v", out)
	}
	got := fmt.Sprint(out.Any)
	const want = "map[b:[1] big:3 d:1000000000 f:1.5 l:[a] m:map[k:[1]] n:1 nil:<nil> p:9 s:x t:1970-01-01 00:00:02 +0000 UTC u:2]"
	if got != want {
		t.Errorf("any arrived as %s\nwant %s", got, want)
	}
}
