package cond

import (
	"github.com/go-multiproc/multiproc/internal/inspect"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// Inspect says who waits on the Cond at off in the file, which has room for it.
func Inspect(m *seg.Mapping, off int) inspect.Part {
	p := inspect.Part{What: "signal"}
	used := min(m.Word(off+usedOffset).Load(), Processes)
	for i := range int(used) {
		p.Words = append(p.Words, off+recordsOffset+i*recordSize+sleepOffset)
	}
	return p
}
