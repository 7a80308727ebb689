//go:build multiproc_explore

package explore

import (
	"fmt"
	"path"
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
	kindLock               // take a lock that stands for one
	kindLocal              // wait for another goroutine of the process, or a context
)

// stackDepth is how many callers are told apart.
const stackDepth = 14

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

// place is where in the source p is: the line, and the one that called it, since the
// line often stands in a one-line method.
func (p pending) place() string {
	var places []string
	frames := runtime.CallersFrames(p.pcs[:])
	for len(places) < 2 {
		f, more := frames.Next()
		if f.File != "" && !machinery(f.File) {
			places = append(places, fmt.Sprintf("%s:%d", path.Base(f.File), f.Line))
		}
		if !more {
			break
		}
	}
	return strings.Join(places, " < ")
}

// machinery reports whether a file is a part of the explorer, or under it.
func machinery(file string) bool {
	switch dir, name := path.Split(file); {
	case strings.HasSuffix(dir, "/internal/mem/"), strings.HasSuffix(dir, "/src/iter/"), strings.HasSuffix(dir, "/src/runtime/"):
		return true
	case strings.HasSuffix(dir, "/internal/explore/"):
		return !strings.HasSuffix(name, "_test.go")
	default:
		return strings.HasSuffix(name, "plant_test.go")
	}
}
