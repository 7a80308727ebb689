//go:build multiproc_explore

package explore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"
	"slices"
)

// maxThreads is how many goroutines a process may have that take steps.
const maxThreads = 8

// errKilled unwinds the goroutines of a process that is not needed any more.
var errKilled = errors.New("explore: killed")

// An instance is a process at some point of its life: coroutines that run the
// shipped code, each stopped before its next step.
type instance struct {
	a       *automaton
	threads [maxThreads]*thread
	cur     *thread
	main    *thread
	notes   []func(*View)
	digest  func() []uint64
	placed  bool // the body has called At
	outer   key  // its locals
	many    bool // more than one thread has been there
	broken  string
	ctx     context.Context
	cancel  context.CancelFunc
}

// A thread is one goroutine of a process.
type thread struct {
	in     *instance
	next   func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
	pend   pending
	out    outcome
	cond   func() bool // what it waits for, when that is local
	known  key         // all that it knows
	bases  []key       // what it knew at each Enter
	killed bool
	done   bool
}

func newInstance(a *automaton) *instance {
	in := &instance{a: a}
	in.main = in.start(func() { a.actor.Run(&Process{in: in, ID: a.id}) })
	in.main.resume()
	in.settle()
	return in
}

// start makes a thread that has not run yet.
func (in *instance) start(f func()) *thread {
	t := &thread{in: in}
	t.next, t.stop = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		defer func() {
			if r := recover(); r != nil && r != errKilled && in.broken == "" {
				in.broken = fmt.Sprintf("panic: %v\n%s", r, debug.Stack())
			}
		}()
		f()
	})
	slot := slices.Index(in.threads[:], nil)
	if slot < 0 {
		panic("explore: too many goroutines")
	}
	in.threads[slot] = t
	if slot > 0 {
		in.many = true
	}
	return t
}

// resume runs t to its next step.
func (t *thread) resume() {
	in := t.in
	before := in.cur
	in.cur = t
	a := in.a.x
	outer := a.running
	a.running = in
	t.pend = pending{}
	if _, ok := t.next(); !ok {
		t.done = true
		in.threads[slices.Index(in.threads[:], t)] = nil
	}
	a.running = outer
	in.cur = before
}

// take announces a step, and returns its outcome when it was taken.
func (t *thread) take(p pending) outcome {
	if t.killed {
		panic(errKilled)
	}
	runtime.Callers(2, p.pcs[:])
	t.pend = p
	if !t.yield(struct{}{}) {
		t.killed = true
		panic(errKilled)
	}
	return t.out
}

// can reports whether e can be next.
func (in *instance) can(e event) bool {
	return e.slot == cancelSlot || in.threads[e.slot] != nil && in.threads[e.slot].cond == nil
}

// step has thread slot take its step, with that outcome.
func (in *instance) step(slot int, o outcome) {
	in.notes = nil
	if slot == cancelSlot {
		if in.cancel != nil {
			in.cancel()
		}
		in.settle()
		return
	}
	t := in.threads[slot]
	if t.pend.kind == kindWait && o.v == asleep {
		t.pend.a = 0 // what was seen does not matter any more
		return
	}
	t.out = o
	t.known.add(o.v)
	if o.b != "" {
		t.known.addString(o.b)
	}
	t.resume()
	in.settle()
}

// settle runs the threads that wait for each other until all are about to take a
// step on shared memory, or can't go on.
func (in *instance) settle() {
	for again := true; again; {
		again = false
		for _, t := range in.threads {
			if t != nil && t.cond != nil && t.cond() {
				t.cond = nil
				t.known.add(0x10ca1)
				t.resume()
				again = true
			}
		}
	}
}

// key says what the process will do from here on.
func (in *instance) key() key {
	var k key
	for _, t := range in.threads {
		if t == nil {
			k.add(0)
			continue
		}
		k.add(1)
		k.add(t.known[0])
		k.add(t.known[1])
		t.pend.key(&k)
		if t.cond != nil {
			k.add(2)
		}
	}
	if in.main.done {
		k.add(3)
	}
	if in.ctx != nil && in.ctx.Err() != nil {
		k.add(4)
	}
	if in.digest != nil {
		for _, v := range in.digest() {
			k.add(v)
		}
	}
	return k
}

// end lets the coroutines go.
func (in *instance) end() {
	for _, t := range in.threads {
		if t != nil {
			outer := in.a.x.running
			in.a.x.running, in.cur = in, t
			t.stop()
			in.a.x.running = outer
		}
	}
}
