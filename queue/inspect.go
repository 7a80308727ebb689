package queue

import (
	"github.com/go-multiproc/multiproc/internal/inspect"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/ring"
	"github.com/go-multiproc/multiproc/internal/seg"
)

func init() { inspect.Register(kind, inspectQueue) }

// inspectQueue says for shm.Inspect how full a Queue is, who waits for messages and for room, and
// who owes a TaskDone.
func inspectQueue(h *seg.Handle) []inspect.Part {
	g, err := ring.ReadGeometry(h.Meta())
	if err != nil {
		return nil
	}
	m := h.Mapping()
	at := m.MetaOffset()
	messages, room := ring.Inspect(m, at, g)
	return []inspect.Part{
		messages, room,
		lock.InspectAt(m, at+ring.ProducersLock, "producers"),
		lock.InspectAt(m, at+ring.ConsumersLock, "consumers"),
	}
}
