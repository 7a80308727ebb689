package sema

import (
	"github.com/go-multiproc/multiproc/internal/inspect"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// Inspect says who has the permits of the semaphore at off in the file, which has room for it.
func Inspect(m *seg.Mapping, off int, p Param) inspect.Part {
	part := inspect.Part{What: "permits", Words: []int{off + countOffset}, All: p.Start()}
	if p.Counts() {
		part.Free = max(0, p.Start()+int(int64(m.Word(off+balanceOffset).Load())))
		part.All = int(min(m.Word(off+limitOffset).Load(), MaxCount))
		return part
	}
	n := p.slots()
	for i := range n {
		t := m.Word(off + slotOffset(i, n)).Load()
		if t == 0 {
			part.Free++
		} else {
			part.Owned(t, 1)
		}
	}
	return part
}
