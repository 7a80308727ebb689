package barrier

import (
	"github.com/go-multiproc/multiproc/internal/inspect"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// Inspect says how many have arrived at the barrier at off in the file, which has room for it.
func Inspect(m *seg.Mapping, off, parties int) inspect.Part {
	s := state(m.Word(off).Load())
	p := inspect.Part{What: "parties", Words: []int{off + countOffset}, All: parties, Free: parties}
	if s.broken() {
		p.What = "parties (broken)"
	} else {
		p.Free = max(0, parties-s.arrived())
	}
	return p
}
