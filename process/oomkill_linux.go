package process

import (
	"sync"
	"syscall"

	"github.com/go-multiproc/multiproc/internal/sys"
)

// Victims tells whether a child that was killed was killed by the kernel's OOM killer. That leaves no trace in the child's status, but its
// memory cgroup counts them. In a cgroup of its own the answer is certain. In one that it shares, each count is taken for one child that
// was killed by somebody other than this process: the order of things does not allow to mistake an earlier kill for it, only one
// of a stranger in the same cgroup.
type victims struct {
	mu   sync.Mutex
	path string
	seen int64
}

// newVictims begins to count in the cgroup that a child was put in, nil if that is this process's own.
func newVictims(attr *syscall.SysProcAttr) *victims {
	if attr == nil || !attr.UseCgroupFD {
		return nil
	}
	v := &victims{path: sys.OOMKillFileIn(attr.CgroupFD)}
	v.seen, _ = sys.OOMKills(v.path)
	return v
}

// ours are the victims in this process's own cgroup, where its children are. Counting begins when the first child was started.
var ours = sync.OnceValue(func() *victims {
	v := &victims{path: sys.OOMKillFile()}
	v.seen, _ = sys.OOMKills(v.path)
	return v
})

// claim reports whether there is a victim that nobody has claimed.
func (v *victims) claim() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	n, ok := sys.OOMKills(v.path)
	if !ok || n <= v.seen {
		return false
	}
	v.seen++
	return true
}
