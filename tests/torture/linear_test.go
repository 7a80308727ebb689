package torture_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/queue"
	"github.com/go-multiproc/multiproc/value"
)

// A record is one operation on a queue, as the process that did it saw it. Times are of
// a count that all processes share, so they are in the order in which things happened.
type record struct {
	Put, OK  uint64 // 1: yes
	V        uint64 // what was put, or taken
	Call     int64  // 0: it was never begun
	Returned int64  // 0: the process was killed before
}

const (
	actors  = 4
	actions = 14 // of each
	room    = 3  // in the queue

	// away is for how long one that is stopped has no CPU, as on a busy machine.
	away = 20 * time.Millisecond
)

type actor struct {
	Queue  *queue.Queue[uint64]
	Start  *psync.Event
	Ready  *value.Value[int64]
	Clock  *value.Value[int64]
	Record *array.Array[record]
	N      int
	Seed   uint64
}

var acting = process.Register(func(ctx context.Context, a actor) error {
	random := rand.New(rand.NewPCG(a.Seed, uint64(a.N)))
	value.Add(a.Ready, 1)
	if err := a.Start.Wait(ctx); err != nil {
		return err
	}
	for i := range actions {
		at := a.N*actions + i
		r := record{Put: random.Uint64N(2), V: uint64(at + 1), Call: value.Add(a.Clock, 1)}
		a.Record.Store(at, r)
		pause(time.Duration(random.Int64N(int64(8 * time.Microsecond)))) // so that they meet in many ways
		var ok bool
		var err error
		if r.Put == 1 {
			ok, err = a.Queue.TryPut(r.V)
		} else {
			r.V, ok, err = a.Queue.TryGet()
		}
		if err != nil {
			return err
		}
		if ok {
			r.OK = 1
		}
		r.Returned = value.Add(a.Clock, 1)
		a.Record.Store(at, r)
	}
	return nil
})

// pause passes the time without giving the CPU away: sleeping would take much longer.
func pause(d time.Duration) {
	for begin := time.Now(); time.Since(begin) < d; {
	}
}

// input and output of an operation, for porcupine.
type (
	asked struct {
		put bool
		v   uint64
	}
	answered struct {
		known bool // else its process was killed, and it has happened or not
		ok    bool
		v     uint64
	}
)

// fifo is what a queue is: a state is the messages in it, a byte each.
var fifo = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{""} },
	Step: func(state, input, output any) []any {
		s, in, out := state.(string), input.(asked), output.(answered)
		var next []any
		if !out.known {
			next = append(next, s) // it has not happened
		}
		switch {
		case in.put && (out.ok || !out.known):
			if len(s) < room {
				next = append(next, s+string(rune(in.v)))
			}
		case in.put:
			if len(s) == room {
				next = append(next, s)
			}
		case out.ok:
			if s != "" && uint64(s[0]) == out.v {
				next = append(next, s[1:])
			}
		case out.known:
			if s == "" {
				next = append(next, s)
			}
		case s != "":
			next = append(next, s[1:])
		}
		return next
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string {
		in, out := input.(asked), output.(answered)
		name := fmt.Sprintf("put %d", in.v)
		if !in.put {
			name = "get"
		}
		switch {
		case !out.known:
			return name + ": killed"
		case !out.ok:
			return name + ": no"
		case in.put:
			return name + ": yes"
		}
		return fmt.Sprintf("get: %d", out.v)
	},
}).ToModel()

// What processes see of a queue is what they would see of one on which their operations happened one
// after the other, each at some moment between its call and its return. One of them may be killed in
// the middle: its last operation has happened then, or it has not. Or it is stopped there for a while.
func TestQueueIsLinearizable(t *testing.T) {
	rounds := min(60, max(10, kills/2))
	random := rand.New(rand.NewPCG(seed, 77))
	t.Logf("seed %d", seed)
	killed, operations := 0, 0
	for round := range rounds {
		q, err := queue.New[uint64](queue.Options{Capacity: room, Bytes: 4096})
		if err != nil {
			t.Fatal(err)
		}
		start, err := psync.NewEvent()
		if err != nil {
			t.Fatal(err)
		}
		ready, err := value.NewRaw[int64](0)
		if err != nil {
			t.Fatal(err)
		}
		clock, err := value.NewRaw[int64](0)
		if err != nil {
			t.Fatal(err)
		}
		records, err := array.NewRaw[record](actors * actions)
		if err != nil {
			t.Fatal(err)
		}
		var ps []*process.Process
		for n := range actors {
			p := process.New(acting, actor{q, start, ready, clock, records, n, seed + uint64(round)})
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			ps = append(ps, p)
		}
		for begin := time.Now(); ready.Load() < actors; time.Sleep(100 * time.Microsecond) {
			if time.Since(begin) > stuck {
				t.Fatal("they do not start")
			}
		}
		if err := start.Set(); err != nil {
			t.Fatal(err)
		}
		victim := -1
		if round%4 != 0 {
			n := random.IntN(actors)
			pause(time.Duration(random.Int64N(int64(250 * time.Microsecond))))
			if round%2 == 1 {
				victim = n
				ps[n].Kill()
			} else {
				_ = ps[n].Signal(syscall.SIGSTOP) // it may have ended
				time.Sleep(away)
				_ = ps[n].Signal(syscall.SIGCONT)
			}
		}
		for n, p := range ps {
			if err := join(t, p); err != nil && n != victim {
				t.Fatal(err)
			}
		}
		var history []porcupine.Operation
		for at, r := range records.All() {
			if r.Call == 0 {
				continue
			}
			op := porcupine.Operation{ClientId: at / actions, Input: asked{r.Put == 1, r.V}, Call: r.Call, Return: r.Returned, Output: answered{true, r.OK == 1, r.V}}
			if r.Returned == 0 {
				op.Return, op.Output = math.MaxInt64, answered{}
				killed++
			}
			history = append(history, op)
		}
		// What is left is taken in the end, by one more actor.
		for more := true; more; {
			call := value.Add(clock, 1)
			v, ok, err := q.TryGet()
			if err != nil {
				t.Fatal(err)
			}
			history = append(history, porcupine.Operation{ClientId: actors, Input: asked{}, Call: call, Return: value.Add(clock, 1), Output: answered{true, ok, v}})
			more = ok
		}
		operations += len(history)
		if result := porcupine.CheckOperationsTimeout(fifo, history, stuck); result != porcupine.Ok {
			for _, op := range history {
				t.Logf("%3d-%3d  actor %d: %s", op.Call, op.Return, op.ClientId, fifo.DescribeOperation(op.Input, op.Output))
			}
			t.Fatalf("round %d: %v (seed %d)", round, result, seed)
		}
		for _, o := range []interface{ Close() error }{q, start, ready, clock, records} {
			if err := o.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Logf("%d histories, %d operations, %d of them in the middle of which a process was killed", rounds, operations, killed)
}

// The model refuses what a queue must not do.
func TestModelOfAQueue(t *testing.T) {
	put := func(v uint64, call int64) porcupine.Operation {
		return porcupine.Operation{Input: asked{true, v}, Output: answered{true, true, v}, Call: call, Return: call + 1}
	}
	get := func(v uint64, ok bool, call int64) porcupine.Operation {
		return porcupine.Operation{Input: asked{}, Output: answered{true, ok, v}, Call: call, Return: call + 1}
	}
	dead := porcupine.Operation{Input: asked{}, Output: answered{}, Call: 5, Return: math.MaxInt64}
	for name, tt := range map[string]struct {
		history []porcupine.Operation
		ok      bool
	}{
		"in order":                {[]porcupine.Operation{put(1, 1), put(2, 3), get(1, true, 5), get(2, true, 7), get(0, false, 9)}, true},
		"out of order":            {[]porcupine.Operation{put(1, 1), put(2, 3), get(2, true, 5), get(1, true, 7)}, false},
		"lost":                    {[]porcupine.Operation{put(1, 1), get(0, false, 3)}, false},
		"taken twice":             {[]porcupine.Operation{put(1, 1), get(1, true, 3), get(1, true, 5)}, false},
		"taken by a dead one":     {[]porcupine.Operation{put(1, 1), dead, get(0, false, 7)}, true},
		"or not":                  {[]porcupine.Operation{put(1, 1), dead, get(1, true, 7)}, true},
		"both taken by one dead":  {[]porcupine.Operation{put(1, 1), put(2, 3), dead, get(0, false, 7)}, false},
		"more than there is room": {[]porcupine.Operation{put(1, 1), put(2, 3), put(3, 5), put(4, 7)}, false},
	} {
		if got := porcupine.CheckOperations(fifo, tt.history); got != tt.ok {
			t.Errorf("%s: %v", name, got)
		}
	}
}
