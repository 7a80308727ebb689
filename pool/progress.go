package pool

import "sync"

// A reporter has the user told of what is newest, from one goroutine at a time: it must not be held up by a slow user, nor hold up the pool.
type reporter struct {
	call  func(Stats) // nil if nobody wants to know
	stats func() Stats

	mu    sync.Mutex
	on    bool
	again bool // there was news since the last call began
}

func (r *reporter) report() {
	if r.call == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.on {
		r.again = true
		return
	}
	r.on = true
	go r.run()
}

func (r *reporter) run() {
	for {
		r.call(r.stats())
		r.mu.Lock()
		if !r.again {
			r.on = false
			r.mu.Unlock()
			return
		}
		r.again = false
		r.mu.Unlock()
	}
}
