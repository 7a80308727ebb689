package ring

import (
	"github.com/go-multiproc/multiproc/internal/inspect"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// Inspect says how full the ring is whose control block stands at off in the file, and
// who waits for it.
func Inspect(m *seg.Mapping, off int, g Geometry) (messages, room inspect.Part) {
	h, t := Place(m.Word(off+512).Load()), Place(m.Word(off+256).Load())
	words, n := t.since(h)
	all := uint64(g.Bytes / wordSize)
	words, count := min(words, all), int(min(n, countLimit))
	messages = inspect.Part{What: "messages", Words: []int{off + NotEmpty}, All: g.Capacity}
	if g.Capacity == 0 {
		messages.All = int(all) / headWords
	}
	messages.Free = max(0, messages.All-count)
	room = inspect.Part{What: "bytes", Words: []int{off + NotFull}, All: g.Bytes, Free: int(all-words) * wordSize}
	used := min(m.Word(off+480).Load(), Slots)
	for i := range int(used) {
		at := off + slotsOffset + i*slotSize
		if owed := m.Word(at + 8).Load(); owed != 0 {
			messages.Owned(m.Word(at).Load(), int(min(owed, countLimit)))
		}
	}
	return messages, room
}
