//go:build multiproc_explore

package explore

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/go-multiproc/multiproc/internal/mem"
)

// A kind is what a thread is about to do.
type kind uint8

const (
	kindNone   kind = iota // there is no thread
	kindWord               // an operation on a word
	kindWait               // sleep on a word, or asleep
	kindWake               // wake sleepers
	kindRead               // copy bytes out of the shared memory
	kindWrite              // copy bytes into it
	kindChoose             // whatever the scheduler likes
	kindAlive              // probe a token
	kindStep               // nothing
	kindLocal              // wait for another goroutine of the process, or a context
)

// stackDepth is how many callers are told apart.
const stackDepth = 12

// A pending is a step that a thread is about to take.
type pending struct {
	kind kind
	op   mem.Op
	at   int    // offset in the shared memory
	a, b uint64 // operands; of kindWait a is what was seen, of kindAlive the token
	n    int    // of kindWake how many, of kindRead how many bytes, of kindChoose how many
	data string // of kindWrite
	what string // of kindChoose: the question
	pcs  [stackDepth]uintptr
}

// same reports whether p and q are the same step, wherever it is called from.
func (p pending) same(q pending) bool {
	p.pcs, q.pcs = [stackDepth]uintptr{}, [stackDepth]uintptr{}
	return p == q
}

// asleep is what a thread gets to know that has fallen asleep: nothing yet.
const asleep = 1<<64 - 1

// key adds p to k.
func (p *pending) key(k *key) {
	k.add(uint64(p.kind)<<32 | uint64(p.op)<<40 | uint64(uint32(p.at)))
	k.add(p.a)
	k.add(p.b)
	k.add(uint64(p.n))
	k.addString(p.data)
	for _, pc := range p.pcs {
		k.add(uint64(pc))
	}
}

// An outcome is what a thread learns by taking its step.
type outcome struct {
	v uint64
	b string // of kindRead
}

// place is where in the source p is.
func (p pending) place() string {
	frames := runtime.CallersFrames(p.pcs[:])
	for {
		f, more := frames.Next()
		if f.File != "" && !strings.Contains(f.File, "/internal/mem/") && !strings.Contains(f.File, "/internal/explore/step") &&
			!strings.Contains(f.File, "/internal/explore/instance") && !strings.HasSuffix(f.File, "/internal/explore/model.go") {
			return fmt.Sprintf("%s:%d", f.File[strings.LastIndexByte(f.File, '/')+1:], f.Line)
		}
		if !more {
			return "?"
		}
	}
}
