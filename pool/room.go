package pool

// A room has those wait who submit to an executor whose backlog is full. Its fields are guarded by the executor's lock.
type room struct {
	limit   int // of jobs in the backlog; zero is none
	waiting []chan struct{}
}

// isFree reports whether one more job may wait.
func (r *room) isFree(b *backlog) bool { return r.limit == 0 || b.n < r.limit }

// wait returns a channel that is closed when it may be worth another look. Who gives up calls leave.
func (r *room) wait() chan struct{} {
	c := make(chan struct{})
	r.waiting = append(r.waiting, c)
	return c
}

// leave takes back a wait. One that was over already is somebody else's chance.
func (r *room) leave(c chan struct{}, b *backlog) {
	for i, other := range r.waiting {
		if other == c {
			r.waiting = append(r.waiting[:i:i], r.waiting[i+1:]...)
			return
		}
	}
	r.freed(b)
}

// freed lets those look who wait, the oldest first, as many as there is room for.
func (r *room) freed(b *backlog) {
	for free := r.limit - b.n; free > 0 && len(r.waiting) > 0; free-- {
		close(r.waiting[0])
		r.waiting = r.waiting[1:]
	}
}

// open lets all look: the executor has ended, or has no limit any more.
func (r *room) open() {
	for _, c := range r.waiting {
		close(c)
	}
	r.waiting = nil
}
