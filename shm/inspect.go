package shm

import (
	"io/fs"
	"time"

	"github.com/go-multiproc/multiproc/internal/inspect"
	"github.com/go-multiproc/multiproc/internal/seg"
)

// A Status says who uses a named segment, and how.
type Status struct {
	Info
	Users []User // processes that have it open, in the order of their PIDs
	Parts []Part // what is in it that can be held or waited for
}

// A User is a process that has a segment open.
type User struct {
	PID     int    // 0: it is in another PID namespace, or another user's
	Command string // the name of its program, cut at 15 bytes
}

// A Part is something in a segment that processes hold or wait for: the one lock of a
// Mutex, the guard of a Value, the permits of a Semaphore, the messages of a Queue.
type Part struct {
	What      string   // "mutex", "guard", "permits", "messages", …
	Offset    int      // where its object stands in a Segment; 0 in the others
	Holders   []Holder // who holds it, or some of it
	Waiters   []User   // processes in which somebody sleeps until it can be had
	Abandoned bool     // its holder died, and nobody has recovered it yet

	// Free and All say how much of it there is: permits left and permits in all, room left
	// and a queue's capacity. Both are 0 for what is just held or not.
	Free, All int

	// HeldFor and WaitedFor say for how long, at least, the present holder has held it, and the one
	// has waited who has waited for longest. They are written down by waiters that sleep, at the end of
	// a slice of 1 to 25 ms, so that locking costs nothing more: 0 means that nobody has waited for so long.
	HeldFor, WaitedFor time.Duration
}

// A Holder is a process that holds something.
type Holder struct {
	User
	N     int  // how much of it: permits, read locks, leased messages
	Alive bool // if not, the hold goes to the next who wants it, or is abandoned
}

// Inspect tells who uses a named segment of whatever kind. It takes no part itself: nobody
// waits for it, and it waits for nobody, so what it returns was true part by part, and not all
// at one time. Which processes these are comes from /proc: those of other users are known to
// root only. What is in it is known for the kinds whose packages are linked into this program.
func Inspect(name string, opts ...Options) (*Status, error) {
	o := options(opts)
	info, err := seg.Stat(name, o)
	if err != nil {
		return nil, err
	}
	h, err := seg.Open(name, "", "", o)
	if err != nil {
		return nil, err
	}
	defer h.Close(nil)
	st := &Status{Info: Info(info)}
	file := inspect.File(h.File())
	users, err := inspect.Users(file)
	if err != nil {
		return nil, &fs.PathError{Op: "inspect", Path: info.Path, Err: err}
	}
	us := users[file]
	byToken := map[uint64]User{}
	own := h.Mapping().Token()
	for _, u := range us {
		if u.Token == own && h.Alone() {
			continue // that is this call
		}
		byToken[u.Token] = User{u.PID, u.Command}
		st.Users = append(st.Users, User{u.PID, u.Command})
	}
	st.InUse = len(st.Users) > 0 || st.InUse
	for _, p := range inspect.Describe(h) {
		part := Part{What: p.What, Offset: p.Offset, Abandoned: p.Abandoned, Free: p.Free, All: p.All, HeldFor: ago(p.HeldSince), WaitedFor: ago(p.WaitedSince)}
		for _, owner := range p.Owners {
			part.Holders = append(part.Holders, Holder{
				User: byToken[owner.Token], N: owner.N,
				Alive: owner.Token == own || h.Mapping().Alive(owner.Token),
			})
		}
		for _, u := range us {
			for _, at := range p.Words {
				if u.SleepsIn(int64(at), 8) {
					part.Waiters = append(part.Waiters, User{u.PID, u.Command})
					break
				}
			}
		}
		if len(part.Waiters) == 0 {
			part.WaitedFor = 0 // whoever wrote it down was killed
		}
		st.Parts = append(st.Parts, part)
	}
	return st, nil
}

func ago(t time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return max(0, time.Since(t))
}
