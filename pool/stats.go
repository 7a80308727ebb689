package pool

import "time"

// Stats are counts of tasks; each chunk of a map counts as one. Fields about workers and what becomes of their tasks are zero for a pool of goroutines, but Workers.
type Stats struct {
	Submitted uint64
	Waiting   uint64 // not sent to a worker yet
	Sent      uint64 // to a worker, and not ended: it runs one of them at a time
	Running   uint64 // of those sent, those that a worker has begun
	Done      uint64 // ended, in whatever way
	Failed    uint64 // of those, with an error

	Elements     uint64 // of the tasks submitted: those of a chunk, else one
	ElementsDone uint64 // of the tasks ended

	Workers   int    // that are ready or starting; goroutines
	Started   int    // workers, ever
	Died      int    // of those, that did not end as they were told to
	Retried   uint64 // tasks that were run again
	TakenBack uint64 // tasks, from a busy worker, for an idle one
}

// end counts the end of a job.
func (s *Stats) end(j *job, failed bool) {
	s.Done++
	s.ElementsDone += uint64(j.elements)
	if failed {
		s.Failed++
	}
}

// WorkerStats are what a pool knows of one of its workers.
type WorkerStats struct {
	Name     string        // also in errors and in the log
	PID      int           // 0 before it has one
	State    string        // "starting", "ready", or "ending": it does what it has been sent, and ends
	Replaces string        // name of the worker whose place it has taken, empty if there was none
	Started  time.Duration // how long ago

	Done   uint64        // tasks, failed ones included
	Failed uint64        // of those
	Busy   time.Duration // spent on them, as it has measured it
	Sent   int           // tasks that it has and that have not ended

	Task    string        // that it runs, as Task.Name; empty if it runs none
	Running time.Duration // how long it has had nothing else to show; 0 if it runs none

	MemoryPeak int64 // bytes that it had resident at most, 0 where the system does not tell
}

// Stats returns counts of what the pool has done and has to do.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Waiting, s.Sent, s.Workers = uint64(p.backlog.n), uint64(p.sentJobs), p.staffLocked()
	for _, w := range p.workers {
		if w.runsLocked() != nil {
			s.Running++
		}
	}
	return s
}

// Workers returns what is known of each worker that is there, in the order in which they were started. It is for looking at: what it says may be over when it returns.
func (p *Pool) Workers() []WorkerStats {
	p.mu.Lock()
	stats := make([]WorkerStats, 0, len(p.workers))
	now := time.Now()
	for _, w := range p.workers {
		s := w.stats
		s.Name, s.PID, s.State, s.Replaces = w.name, w.pid, w.state.String(), w.replaces.name
		s.Started, s.Sent = now.Sub(w.began), w.outstanding
		if j := w.runsLocked(); j != nil {
			s.Task, s.Running = j.entry.title, now.Sub(w.progress)
		}
		stats = append(stats, s)
	}
	p.mu.Unlock()
	for i := range stats {
		stats[i].MemoryPeak = memoryPeak(stats[i].PID)
	}
	return stats
}

// runsLocked returns the job that w has begun and not ended, as far as is known here.
func (w *worker) runsLocked() *job {
	if w.outstanding == 0 {
		return nil
	}
	for _, e := range w.order {
		if j := w.job(e); j != nil { // the oldest: a worker goes by their order
			if w.board.states[e.slot].Load() == stateWord(j.generation, running) {
				return j
			}
			return nil
		}
	}
	return nil
}

func (s workerState) String() string {
	return [...]string{"starting", "ready", "ending", "gone"}[s]
}
