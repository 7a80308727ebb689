package queue_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/queue"
)

func init() { helpers["inTheMiddle"] = inTheMiddle }

// inTheMiddle is, each time that it is told, in the middle of using a side of a queue: for so
// many milliseconds, or, if these are 0, until it is told to go on.
func inTheMiddle(args []string) int {
	q := taken[*queue.Queue[stamp]](args)
	ms, _ := strconv.Atoi(args[3])
	for in := bufio.NewReader(os.Stdin); ; {
		if _, err := in.ReadString('\n'); err != nil {
			return 0
		}
		leave := queue.Enter(q, args[2])
		fmt.Println("in the middle")
		if ms == 0 {
			in.ReadString('\n')
		}
		time.Sleep(time.Duration(ms) * time.Millisecond) // that is how slow it is
		leave()
		fmt.Println("through")
	}
}

// getInto has it be there.
func getInto(t *testing.T, p *reexec.Process) {
	t.Helper()
	p.Say("")
	if got := p.Line(); got != "in the middle" {
		t.Fatal(got)
	}
}

// stoppedInTheMiddle starts one that is there, and stops it.
func stoppedInTheMiddle(t *testing.T, q *queue.Queue[stamp], side string) *reexec.Process {
	t.Helper()
	p := start(t, "inTheMiddle", q, side, "0")
	getInto(t, p)
	verify.Must(t, p.Cmd.Process.Signal(syscall.SIGSTOP))
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(p.Cmd.Process.Pid, &ws, syscall.WUNTRACED, nil); err != nil || !ws.Stopped() {
		t.Fatalf("it was to stop: %v, %v", ws, err)
	}
	return p
}

// A try is a method that does not wait. ok says that it has put, or taken, a message.
type try struct {
	name, side string
	do         func(q *queue.Queue[stamp]) (ok bool, err error)
}

var tries = []try{
	{"TryPut", queue.Producers, func(q *queue.Queue[stamp]) (bool, error) { return q.TryPut(stamp{1, 1}) }},
	{"TryGet", queue.Consumers, func(q *queue.Queue[stamp]) (bool, error) {
		_, ok, err := q.TryGet()
		return ok, err
	}},
	{"TryLease", queue.Consumers, func(q *queue.Queue[stamp]) (bool, error) {
		l, err := q.TryLease()
		if l == nil {
			return false, err
		}
		return true, l.Ack()
	}},
}

// half is a queue in which there are messages, and room for as many.
func half(t *testing.T) *queue.Queue[stamp] {
	q := newQueue[stamp](t, queue.Options{Capacity: 200})
	for i := range int64(100) {
		verify.Must(t, q.Put(soon(t), stamp{0, i}))
	}
	return q
}

// Another process is slow in the middle of a Put or Get: that is not for want of room, nor of
// messages.
func TestTriesWaitForWhoIsInTheMiddle(t *testing.T) {
	for _, tt := range tries {
		t.Run(tt.name, func(t *testing.T) {
			q := half(t)
			p := start(t, "inTheMiddle", q, tt.side, "60")
			for range 3 {
				getInto(t, p)
				if ok, err := tt.do(q); !ok || err != nil {
					t.Errorf("%v, %v", ok, err)
				}
				if got := p.Line(); got != "through" {
					t.Fatal(got)
				}
			}
			p.Done()
		})
	}
}

// Killed there, it is not waited for at all, however soon after its death that is.
func TestTriesAfterADeathInTheMiddle(t *testing.T) {
	for _, tt := range tries {
		t.Run(tt.name, func(t *testing.T) {
			q := half(t)
			for range 10 {
				p := start(t, "inTheMiddle", q, tt.side, "0")
				getInto(t, p)
				p.Cmd.Process.Kill() // and it is not waited for
				if ok, err := tt.do(q); !ok || err != nil {
					t.Errorf("%v, %v", ok, err)
				}
			}
		})
	}
}

// Stopped there, it lives and is not robbed. Nothing is said then of what cannot be known.
func TestTriesBesideOneThatIsStopped(t *testing.T) {
	for _, killed := range []bool{true, false} {
		for _, tt := range tries {
			t.Run(fmt.Sprintf("%s, killed %v", tt.name, killed), func(t *testing.T) {
				t.Parallel()
				q := half(t)
				p := stoppedInTheMiddle(t, q, tt.side)
				began := time.Now()
				ok, err := tt.do(q)
				if d := time.Since(began); ok || !errors.Is(err, queue.ErrBusy) || d < time.Second || d > patience/2 {
					t.Errorf("%v, %v, after %v", ok, err, d)
				}
				if n := q.Len(); n != 100 {
					t.Errorf("%d messages", n)
				}
				if killed {
					p.Kill()
				} else {
					verify.Must(t, p.Cmd.Process.Signal(syscall.SIGCONT))
					p.Say("")
					if got := p.Line(); got != "through" {
						t.Fatal(got)
					}
				}
				if ok, err := tt.do(q); !ok || err != nil {
					t.Errorf("afterwards: %v, %v", ok, err)
				}
			})
		}
	}
}

// What can be seen without the one that is stopped is said at once.
func TestCertainNoBesideOneThatIsStopped(t *testing.T) {
	for _, tt := range tries {
		t.Run(tt.name, func(t *testing.T) {
			q := newQueue[stamp](t, queue.Options{Capacity: 1})
			if tt.side == queue.Producers {
				verify.Must(t, q.Put(soon(t), stamp{}))
			}
			p := stoppedInTheMiddle(t, q, tt.side)
			began := time.Now()
			for range 100 {
				if ok, err := tt.do(q); ok || err != nil {
					t.Fatalf("%v, %v", ok, err)
				}
			}
			if d := time.Since(began); d > time.Second {
				t.Errorf("it took %v", d)
			}
			// There is something to be had now, which only the other could be taking.
			if tt.side == queue.Producers {
				_, _, err := q.TryGet()
				verify.Must(t, err)
			} else {
				verify.Must(t, q.Put(soon(t), stamp{}))
			}
			if ok, err := tt.do(q); ok || !errors.Is(err, queue.ErrBusy) {
				t.Errorf("%v, %v", ok, err)
			}
			p.Kill()
			if ok, err := tt.do(q); !ok || err != nil {
				t.Errorf("afterwards: %v, %v", ok, err)
			}
		})
	}
}

// Room that only the dead have is room.
func TestTryPutHasTheRoomOfTheDead(t *testing.T) {
	t.Run("a lease", func(t *testing.T) {
		q := newQueue[stamp](t, queue.Options{Capacity: 1, MaxDeliveries: 1})
		verify.Must(t, q.Put(soon(t), stamp{0, 41}))
		p := start(t, "leaseOne", q)
		if got := p.Line(); got != "41 1" {
			t.Fatal(got)
		}
		if ok, err := q.TryPut(stamp{0, 42}); ok || err != nil {
			t.Errorf("beside the lease of a living one: %v, %v", ok, err)
		}
		p.Kill()
		for began := time.Now(); ; {
			ok, err := q.TryPut(stamp{0, 42})
			verify.Must(t, err)
			if ok {
				break
			}
			if time.Since(began) > patience {
				t.Fatal("no room")
			}
		}
		if n := q.DeadLetters().Len(); n != 1 {
			t.Errorf("%d dead letters", n)
		}
	})
	t.Run("a large message", func(t *testing.T) {
		q := newQueue[[]byte](t, queue.Options{Bytes: 4096, MaxMessage: 64 << 10})
		b := make([]byte, 64<<10)
		queue.DieInPut(q, b)
		queue.DieInPut(q, b)
		if ok, err := q.TryPut(b); !ok || err != nil {
			t.Errorf("%v, %v", ok, err)
		}
	})
}

// The dead letters are a Queue, in the middle of using which somebody can be stopped. No message is
// lost over that, neither among them nor the one that is to go there.
func TestNackWhileNobodyGetsAtTheDeadLetters(t *testing.T) {
	ctx := soon(t)
	q := newQueue[stamp](t, queue.Options{MaxDeliveries: 1})
	d := q.DeadLetters()
	verify.Must(t, d.Put(ctx, stamp{0, 40}))
	verify.Must(t, q.Put(ctx, stamp{0, 41}))
	l, err := q.Lease(ctx)
	verify.Must(t, err)
	p := stoppedInTheMiddle(t, d, queue.Producers)
	for range 2 {
		if err := l.Nack(); !errors.Is(err, queue.ErrBusy) {
			t.Errorf("Nack: %v", err)
		}
	}
	p.Kill()
	if err := l.Nack(); err != nil {
		t.Errorf("Nack afterwards: %v", err)
	}
	if err := l.Nack(); !errors.Is(err, queue.ErrLeaseEnded) {
		t.Errorf("Nack once more: %v", err)
	}
	for n := range int64(2) {
		if s, ok, err := d.TryGet(); s.Number != 40+n || !ok || err != nil {
			t.Errorf("dead letter %d: %v, %v, %v", n, s, ok, err)
		}
	}
}
