package pool

import "time"

const (
	// ahead is for how long a worker may have work waiting beside the task that it runs: enough to bridge the way to the parent and back many times, and too little to matter
	// to who waits for it.
	ahead = time.Millisecond

	// second is how long a task may be for one more to be sent while it runs. The gap between two tasks, some 50 µs, is then a hundredth at most, and an
	// idle worker can have the second one.
	second = 5 * time.Millisecond

	// brief is how long a task may be to be given to a worker that is awake rather than to one that has to be woken, as long as that has no more than briefAhead of them.
	brief      = 20 * time.Microsecond
	briefAhead = 60 * time.Microsecond

	// stealAfter is when an idle worker looks at what busy ones have been sent.
	stealAfter = 2 * time.Millisecond

	// late is by how much a worker may be later with a result than was thought before it is taken to be busy with a long task.
	late = 500 * time.Microsecond

	unknown = time.Duration(-1)
)

// estimateLocked is how long j will take, by what tasks of its kind took.
func (p *Pool) estimateLocked(j *job) time.Duration {
	e, ok := p.estimates[j.entry]
	if !ok {
		return unknown
	}
	return e * time.Duration(j.elements)
}

// learnLocked takes note of how long j took. A task that is longer than thought counts at once, since to believe it short would keep others waiting behind its like; being
// shorter counts slowly.
func (p *Pool) learnLocked(j *job, took time.Duration) {
	per := took / time.Duration(j.elements)
	e, ok := p.estimates[j.entry]
	switch {
	case !ok:
		e = per
	case per > e:
		e += (per - e + 1) / 2
	default:
		e -= (e - per) / 8
	}
	p.estimates[j.entry] = e
}

// dispatchLocked sends what waits to workers that can take it, and starts workers for the rest.
func (p *Pool) dispatchLocked() {
	if p.backlog.n > 0 {
		p.clock = time.Now()
	}
	defer p.room.freed(&p.backlog)
	for {
		j := p.backlog.peek()
		if j == nil {
			break
		}
		if p.failed != nil {
			jobs := p.backlog.clear()
			go p.finish(jobs, p.failed)
			break
		}
		w := p.pickLocked(j)
		if w == nil {
			for p.staffLocked() < p.options.Workers && p.starting < p.backlog.n {
				w := p.newWorkerLocked()
				go w.start()
			}
			return
		}
		p.backlog.pop(j)
		w.sendLocked(j)
	}
	p.shareLocked()
}

// pickLocked returns the worker that should have j, nil if there is none at the moment.
func (p *Pool) pickLocked(j *job) *worker {
	estimate := p.estimateLocked(j)
	j.estimate = estimate
	if estimate == unknown || estimate >= brief {
		if p.idle == 0 && (estimate == unknown || estimate > second) {
			return nil
		}
	}
	var idle, busy *worker
	for _, w := range p.workers {
		switch {
		case w.state != ready || !w.hasRoom(j):
		case w.outstanding == 0:
			awake := w.board.workerWaits.Load() == 0
			if w.stalled && !awake {
				w.stalled = false // it has come as far as to fall asleep
			}
			if idle == nil || idle.stalled || awake && !w.stalled {
				idle = w
			}
		case estimate == unknown || w.outstanding >= p.options.Prefetch || w.lateLocked():
		case w.load+estimate <= ahead || w.outstanding == 1 && w.load <= second && estimate <= second:
			if busy == nil || w.load < busy.load {
				busy = w
			}
		}
	}
	if idle != nil && idle.stalled && p.staffLocked() < p.options.Workers {
		idle = nil
	}
	if idle == nil || busy != nil && estimate < brief && busy.load < briefAhead {
		return busy
	}
	return idle
}

// shareLocked sees to it that no worker is idle for long, or not started, while others have work waiting. It is called when there is nothing in the backlog.
func (p *Pool) shareLocked() {
	if p.stealSet || p.idle == 0 && p.staffLocked() >= p.options.Workers || p.failed != nil {
		return
	}
	for _, w := range p.workers {
		if w.outstanding > 1 || w.outstanding == 1 && w.runsLocked() == nil {
			p.stealSet = true
			if w.outstanding > 1 && w.load > ahead/4 && p.idle > 0 {
				p.stealing.Reset(100 * time.Microsecond)
			} else {
				p.stealing.Reset(stealAfter)
			}
			return
		}
	}
}

// lateLocked reports whether w has had nothing to show for longer than what it was sent should take.
func (w *worker) lateLocked() bool { return w.pool.clock.Sub(w.progress) > w.load+late }

// stealTime takes back from busy workers what idle ones can begin at once. Workers that finish one short task after the other keep theirs.
func (p *Pool) stealTime() {
	p.mu.Lock()
	defer p.unlock()
	p.stealSet = false
	if p.backlog.n > 0 {
		p.dispatchLocked()
		return
	}
	p.clock = time.Now()
	free := max(p.options.Workers-p.staffLocked(), 0)
	for _, w := range p.workers {
		if w.state == ready && w.outstanding == 0 && !w.stalled {
			free++
		}
	}
	for range free {
		if stalled := p.stalledLocked(); stalled != nil {
			jobs := stalled.recallLocked(1)
			p.stats.TakenBack += uint64(len(jobs))
			p.backlog.pushFront(jobs)
			continue
		}
		var victim *worker
		for _, w := range p.workers {
			if w.outstanding > 1 && (victim == nil || w.outstanding > victim.outstanding) && (w.lateLocked() || w.load > ahead/4) {
				victim = w
			}
		}
		if victim == nil {
			break
		}
		jobs := victim.recallLocked(victim.outstanding / 2)
		if len(jobs) == 0 {
			break
		}
		p.stats.TakenBack += uint64(len(jobs))
		p.backlog.pushFront(jobs)
	}
	p.dispatchLocked()
}

// stalledLocked returns a worker that has not begun the one task that it was sent, when it should have: it was stopped by a signal, or gets no processor. It is taken note of,
// or it would be sent the task again, having nothing to do.
func (p *Pool) stalledLocked() *worker {
	for _, w := range p.workers {
		if w.outstanding == 1 && p.clock.Sub(w.progress) > stealAfter && w.runsLocked() == nil {
			w.stalled = true
			return w
		}
	}
	return nil
}

// watchLocked has watchTime look at workers as long as they have something to do.
func (p *Pool) watchLocked() {
	if !p.watchSet && p.options.Grace >= 0 {
		p.watchSet = true
		p.watching.Reset(p.patience())
	}
}

// patience is how long a worker may take to begin what it was sent. A busy machine can take its time to let it.
func (p *Pool) patience() time.Duration { return max(p.options.Grace, time.Second) }

// watchTime ends workers that do not begin what they were sent. Time is no proof that they never will, but none is needed: what is taken back from them runs once, elsewhere.
func (p *Pool) watchTime() {
	p.mu.Lock()
	defer p.unlock()
	p.watchSet = false
	if p.sentJobs == 0 {
		return
	}
	p.watchLocked()
	p.clock = time.Now()
	for _, w := range p.workers {
		if w.outstanding == 0 || w.killed || p.clock.Sub(w.progress) < p.patience() || w.runsLocked() != nil {
			continue
		}
		p.backlog.pushFront(w.recallLocked(w.outstanding))
		if w.outstanding > 0 {
			continue // it has begun after all
		}
		if w.state == ready {
			p.idle--
			w.state = ending
		}
		w.killed = true
		w.kill()
	}
	p.dispatchLocked()
}

// staffLocked is the number of workers that are there to stay.
func (p *Pool) staffLocked() int {
	n := 0
	for _, w := range p.workers {
		if w.state <= ready {
			n++
		}
	}
	return n
}
