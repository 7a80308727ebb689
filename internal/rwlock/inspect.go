package rwlock

import (
	"github.com/go-multiproc/multiproc/internal/inspect"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// Inspect says who writes and who reads under the lock at off in the file, which has room
// for it.
func Inspect(m *seg.Mapping, off int) []inspect.Part {
	writer := lock.InspectAt(m, off, "writer")
	// One who has the word and waits for the readers does not write yet, but is in the way of others.
	writer.Words = append(writer.Words, off+drainedOffset)
	readers := inspect.Part{What: "readers", Words: []int{off + openedOffset}}
	top := min(m.Word(off+topOffset).Load(), MaxProcesses)
	for i := range int(top) {
		w := m.Word(off + slotOffset(i, MaxProcesses)).Load()
		if n := int(w & countMask); n > 0 {
			readers.Owned(w>>tokenShift, n)
		}
	}
	return []inspect.Part{writer, readers}
}
