package psync

import (
	"github.com/go-multiproc/multiproc/internal/barrier"
	"github.com/go-multiproc/multiproc/internal/cond"
	"github.com/go-multiproc/multiproc/internal/inspect"
	"github.com/go-multiproc/multiproc/internal/lock"
	"github.com/go-multiproc/multiproc/internal/rwlock"
	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/internal/sema"
)

// parts say of each kind what can be held or waited for at off in the file, where an object with
// the parameter stands.
var parts = map[*kind]func(m *seg.Mapping, off int, param uint32) []inspect.Part{
	mutexKind:  oneLock("mutex"),
	rmutexKind: oneLock("mutex"),
	onceKind:   oneLock("runner"),
	rwmutexKind: func(m *seg.Mapping, off int, _ uint32) []inspect.Part {
		return rwlock.Inspect(m, off)
	},
	semaphoreKind: func(m *seg.Mapping, off int, param uint32) []inspect.Part {
		return []inspect.Part{sema.Inspect(m, off, sema.Param(param))}
	},
	condKind: func(m *seg.Mapping, off int, _ uint32) []inspect.Part {
		all := []inspect.Part{cond.Inspect(m, off)}
		if m.Word(off+condLock).Load() != 0 { // it has been used: the lock is the Cond's own
			all = append(all, lock.InspectAt(m, off+condLock, "mutex"))
		}
		return all
	},
	eventKind: func(m *seg.Mapping, off int, _ uint32) []inspect.Part {
		return []inspect.Part{{What: "event", Words: []int{off + eventCount}}}
	},
	barrierKind: func(m *seg.Mapping, off int, param uint32) []inspect.Part {
		return []inspect.Part{barrier.Inspect(m, off, int(param))}
	},
}

func oneLock(what string) func(*seg.Mapping, int, uint32) []inspect.Part {
	return func(m *seg.Mapping, off int, _ uint32) []inspect.Part {
		return []inspect.Part{lock.InspectAt(m, off, what)}
	}
}

func init() {
	for k, describe := range parts {
		inspect.Register(k.segment, func(h *seg.Handle) []inspect.Part {
			param, err := k.check(h.Meta())
			if err != nil {
				return nil
			}
			return describe(h.Mapping(), h.Mapping().MetaOffset(), param)
		})
	}
	inspect.Register("segment", inspectPlaced)
}

// mostPlaced is how many bytes of a segment are searched for objects.
const mostPlaced = 16 << 20

// inspectPlaced finds the objects that stand in a caller's segment, by their tags.
func inspectPlaced(h *seg.Handle) (all []inspect.Part) {
	b := h.Data()
	for off := 0; off+Alignment <= min(len(b), mostPlaced); off += Alignment {
		for k, describe := range parts {
			param, err := k.check(b[off:])
			if err != nil {
				continue
			}
			for _, p := range describe(h.Mapping(), off, param) {
				p.Offset = off
				all = append(all, p)
			}
		}
	}
	return all
}
