package process

import (
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Info describes a process of the family.
type Info struct {
	Name      string // "MainProcess" for the one that the user started
	PID       int
	ParentPID int
	Method    Method // how it was started; 0 for the main process
	Daemon    bool
}

// mainName is Python's name for the process that is nobody's child.
const mainName = "MainProcess"

// Current describes this process. In a child its name and method are what its parent said. ParentPID is the parent's id in the
// parent's own PID namespace, PID this process's in its own.
func Current() Info {
	if j := currentJob(); j != nil {
		info := j.header.Info
		info.PID = os.Getpid()
		return info
	}
	return Info{Name: mainName, PID: os.Getpid(), ParentPID: os.Getppid()}
}

// Parent describes the process that started this one. In the main process there is none: false.
func Parent() (Info, bool) {
	if j := currentJob(); j != nil {
		return j.header.Parent, true
	}
	return Info{}, false
}

// Children returns the children of this process that run, in the order in which they were started. Those that have
// ended are collected, and not among them.
func Children() []*Process { return family.living() }

// CPUCount returns the number of CPUs that this process may run on now, its affinity mask considered. It
// is at least 1. A cgroup's limit of processor time is not considered: runtime.GOMAXPROCS(0) is, at program start.
func CPUCount() int { return cpuCount() }

// family is this process's children.
var family children

type children struct {
	// starting is held, for reading, by every Start from before its child can run until it is in alive: with a method that is fast, the
	// child may have told the world that it is there by then, and a signal have come back.
	starting sync.RWMutex

	mu     sync.Mutex
	made   int // number of Processes that were made
	alive  map[*Process]struct{}
	order  int                    // of starts
	change chan struct{}          // closed at the next end of a child, if somebody waits for one
	look   func() <-chan struct{} // called before starts
}

func (c *children) nextNumber() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made++
	return c.made
}

// defaultName is the name of this process's n-th child.
func defaultName(n int) string { return "Process-" + childNumber(n) }

// tellStarts has look called before every start of a child. It returns nil, or a channel that it closes when it has looked.
func (c *children) tellStarts(look func() <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look = look
}

// announce says that a child is about to be started. What is done then is better over before the child can tell anybody that it is there,
// and signals come. That takes a tenth of a millisecond, but many on a machine that is busy, which is too long to wait. A child that
// is to be executed takes longer itself.
func (c *children) announce(method Method) {
	const patience = time.Millisecond
	c.mu.Lock()
	look := c.look
	c.mu.Unlock()
	if look == nil {
		return
	}
	looked := look()
	if looked == nil || method != ForkServer {
		return
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-looked:
	case <-t.C:
	}
}

func (c *children) add(p *Process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.alive == nil {
		c.alive = make(map[*Process]struct{})
	}
	c.order++
	p.child.order = c.order
	c.alive[p] = struct{}{}
}

func (c *children) remove(p *Process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.alive, p)
	if c.change != nil {
		close(c.change)
		c.change = nil
	}
}

func (c *children) living() []*Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.livingLocked(func(*Process) bool { return true })
}

func (c *children) livingLocked(which func(*Process) bool) []*Process {
	var ps []*Process
	for p := range c.alive {
		if which(p) {
			ps = append(ps, p)
		}
	}
	slices.SortFunc(ps, func(a, b *Process) int { return a.child.order - b.child.order })
	return ps
}

// wait waits until there is none of those children, which may come and go meanwhile, or until stop is closed.
func (c *children) wait(which func(*Process) bool, stop <-chan struct{}) {
	for {
		c.mu.Lock()
		if len(c.livingLocked(which)) == 0 {
			c.mu.Unlock()
			return
		}
		if c.change == nil {
			c.change = make(chan struct{})
		}
		change := c.change
		c.mu.Unlock()
		select {
		case <-change:
		case <-stop:
			return
		}
	}
}

// childNumber is the number of this process's n-th child among its ancestors.
func childNumber(n int) string {
	if j := currentJob(); j != nil && j.header.Number != "" {
		return j.header.Number + ":" + strconv.Itoa(n)
	}
	return strconv.Itoa(n)
}

// finish is what a process does with its children before it exits: it waits for them, and stops those that are
// daemons. When stop is closed, it does no more. Children that wait for a job are stopped in any case. settle, if it is not nil, is called before
// daemons are stopped, and closes stop if a signal for the whole family has arrived: a Ctrl-C that ended the others is on its way to the
// daemons as well, and must not come second.
func (c *children) finish(stop <-chan struct{}, settle func()) {
	c.wait(func(p *Process) bool { return !p.settings.daemon && !p.settings.detach }, stop)
	daemon := func(p *Process) bool { return p.settings.daemon }
	c.mu.Lock()
	daemons := c.livingLocked(daemon)
	c.mu.Unlock()
	if len(daemons) > 0 && settle != nil {
		settle()
	}
	select {
	case <-stop: // and whoever closed it sees to them
	default:
		for _, p := range daemons {
			p.Terminate()
		}
	}
	c.wait(daemon, stop)
	warm.stop()
}

// attached returns the children that end with this process, those that are just being started among them.
func (c *children) attached() []*Process {
	c.starting.Lock()
	c.starting.Unlock() //lint:ignore SA2001 whoever held it is in alive now
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.livingLocked(func(p *Process) bool { return !p.settings.detach })
}

// hasAttached reports whether there are children that are not detached, those that are being started left out: unlike attached, it
// does not wait for a Start.
func (c *children) hasAttached() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.livingLocked(func(p *Process) bool { return !p.settings.detach })) > 0
}

// stopAll asks all children that are not detached to end.
func (c *children) stopAll() {
	for _, p := range c.attached() {
		p.Terminate()
	}
}
