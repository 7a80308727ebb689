package process

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/standard"
)

// warm is the children of this process that are ready, or about to be.
var warm stock

// A stock is refilled by one goroutine, which lives as long as there is something to do, and executes one child after the other: that takes
// as long as an ordinary start, and is meant to go on beside the program, not before it. Only when children are running out are there
// several on their way at a time.
//
// A child that is still on its way is as good to a Start as one that is executed now, and better: the job waits for
// it in its socket. So Start takes those, too.
type stock struct {
	mu       sync.Mutex
	options  ForkServerOptions
	children []*warmChild       // the oldest first; those that are ready stand before those that are not
	grown    int                // what a zero Warm stands for
	nobodys  int                // children that are no Process's, those included that are about to end
	filling  bool               // there is the goroutine
	hurry    chan struct{}      // wakes the goroutine from its pause, if it has room
	waiting  []chan error       // of fillAndWait
	lastUse  time.Time          // when the last child was taken
	busy     bool               // one was taken shortly before that
	std      standard.Variables // at the last use
	begun    bool               // somebody wants children to be ready
	drained  bool               // but nobody has for long
	idle     *time.Timer        // MaxIdle
	stopped  bool               // the process is about to exit
}

const (
	firstWarm = 2

	// quiet is how long nobody has to have started a child for one to be executed, unless they are running out: a child that was
	// just started is to have the CPU first.
	quiet = 2 * time.Millisecond

	// stopTime bounds how long the exit waits for children that were killed.
	stopTime = 200 * time.Millisecond
)

func (s *stock) setOptions(o ForkServerOptions) {
	s.mu.Lock()
	s.options = o
	s.grown = 0
	if s.begun {
		s.armLocked()
	}
	var surplus []*warmChild
	if n := s.targetLocked(); len(s.children) > n {
		surplus = slices.Clone(s.children[n:])
	}
	s.removeLocked(surplus)
	fill := s.begun
	s.mu.Unlock()
	letGo(surplus)
	if fill {
		s.fill()
	}
}

// targetLocked is how many children there are to be.
func (s *stock) targetLocked() int {
	switch n := s.options.Warm; {
	case s.stopped || s.drained || n < 0:
		return 0
	case n > 0:
		return n
	}
	return max(s.grown, firstWarm)
}

// growLocked is for a Start that found no child ready.
func (s *stock) growLocked() {
	if s.options.Warm == 0 {
		s.grown = min(2*max(s.grown, firstWarm/2), max(4, 2*CPUCount()))
	}
}

// useLocked says that somebody uses the stock.
func (s *stock) useLocked(std standard.Variables) {
	now := time.Now()
	s.std = std
	s.begun, s.drained = true, false
	s.busy = now.Sub(s.lastUse) < 4*quiet
	s.lastUse = now
	s.armLocked()
}

// armLocked begins MaxIdle anew.
func (s *stock) armLocked() {
	switch d := s.maxIdleLocked(); {
	case d < 0:
		if s.idle != nil {
			s.idle.Stop()
		}
	case s.idle == nil:
		s.idle = time.AfterFunc(d, s.drain)
	default:
		s.idle.Reset(d)
	}
}

func (s *stock) maxIdleLocked() time.Duration { return cmp.Or(s.options.MaxIdle, DefaultMaxIdle) }

// drain lets all children go that nobody has used for MaxIdle.
func (s *stock) drain() {
	s.mu.Lock()
	if d := s.maxIdleLocked(); d < 0 || time.Since(s.lastUse) < d {
		s.mu.Unlock()
		return // the timer was about to be stopped or set anew
	}
	s.grown, s.drained = 0, true
	all := s.emptyLocked()
	s.mu.Unlock()
	letGo(all)
}

func letGo(ws []*warmChild) {
	for _, w := range ws {
		w.letGo()
	}
}

func (s *stock) removeLocked(ws []*warmChild) {
	s.children = slices.DeleteFunc(s.children, func(w *warmChild) bool { return slices.Contains(ws, w) })
	for _, w := range ws {
		w.settleLocked()
	}
}

// emptyLocked takes all children out.
func (s *stock) emptyLocked() []*warmChild {
	all := s.children
	s.children = nil
	for _, w := range all {
		w.settleLocked()
	}
	return all
}

// take takes the child that is best to have, and if needed only one that is ready. Those that were executed when this process was another one are let go.
func (s *stock) take(now *circumstances, needReady bool) (w *warmChild, ready bool) {
	s.mu.Lock()
	var stale []*warmChild
	var taken *warmChild
	for _, c := range s.children {
		if !c.began.same(now) {
			stale = append(stale, c)
		} else if taken == nil && !needReady || c.ready && (taken == nil || !taken.ready) {
			taken = c
		}
	}
	if taken != nil {
		ready = taken.ready
		s.removeLocked([]*warmChild{taken})
	}
	if !ready {
		s.growLocked()
	}
	s.removeLocked(stale)
	s.useLocked(now.std)
	s.mu.Unlock()
	letGo(stale)
	return taken, ready
}

// give gives the job to a child, and if needed only to one that is ready. The child must be told whose it becomes (warmChild.become). It
// is nil if there is none. The messages stay the caller's.
func (s *stock) give(header jobHeader, parts []*handover.Message, now *circumstances, needReady bool) (*warmChild, error) {
	defer s.fill()
	for {
		w, ready := s.take(now, needReady)
		if w == nil {
			return nil, nil
		}
		err := w.handOver(header, parts, ready)
		if err == nil {
			return w, nil
		}
		w.letGo()
		if err != errNotTaken {
			return nil, err
		}
	}
}

// warmUp begins to make children ready.
func (s *stock) warmUp() {
	s.mu.Lock()
	s.useLocked(standard.Now())
	s.mu.Unlock()
	s.fill()
}

// fill sees to it that children are made ready, in the background.
func (s *stock) fill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fillLocked()
}

func (s *stock) fillLocked() {
	if s.hurry == nil {
		s.hurry = make(chan struct{}, 1)
	}
	switch {
	case len(s.children) >= s.targetLocked():
		s.answerLocked(nil)
	case !s.filling:
		s.filling = true
		go s.refill()
	case s.urgentLocked():
		s.hurryLocked()
	}
}

// hurryLocked wakes the goroutine from its pause.
func (s *stock) hurryLocked() {
	select {
	case s.hurry <- struct{}{}:
	default:
	}
}

// urgentLocked reports whether children are running out, or somebody waits.
func (s *stock) urgentLocked() bool {
	return len(s.waiting) > 0 || s.busy && len(s.children) <= s.targetLocked()/2
}

// refill executes children until there are enough, or it turns out that they cannot be had. Then the next Start tries
// again, and whoever calls it sees what is wrong.
func (s *stock) refill() {
	// Executed, and not known to be ready. When children are running out there are as many as there are CPUs, else one.
	var coming []*warmChild
	settle := func(but int) error {
		for len(coming) > but {
			w := coming[0]
			coming = coming[1:]
			if <-w.settled; w.died != nil {
				return w.died
			}
		}
		return nil
	}
	stop := func(err error) {
		s.filling = false
		s.answerLocked(err)
	}
	for {
		s.mu.Lock()
		enough := len(s.children) >= s.targetLocked()
		if enough && len(coming) == 0 {
			stop(nil)
			s.mu.Unlock()
			return
		}
		std, atOnce := s.std, 1
		pause := time.Duration(0)
		if s.urgentLocked() {
			atOnce = CPUCount()
		} else {
			pause = quiet - time.Since(s.lastUse)
		}
		s.mu.Unlock()
		if enough {
			atOnce = 1 // and nothing more is executed
		} else if pause > 0 {
			t := time.NewTimer(pause)
			select {
			case <-t.C:
			case <-s.hurry:
				t.Stop()
			}
			continue
		}
		err := settle(atOnce - 1)
		if err == nil && !enough {
			var w *warmChild
			if w, err = executeWarm(s, circumstancesNow(std)); err == nil {
				coming = append(coming, w)
			}
		}
		if err != nil {
			s.mu.Lock()
			stop(err)
			s.mu.Unlock()
			return
		}
	}
}

// put adds a child that was just executed, unless it comes too late.
func (s *stock) put(w *warmChild) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nobodys++
	if len(s.children) >= s.targetLocked() {
		w.settleLocked()
		return false
	}
	s.children = append(s.children, w)
	return true
}

// passes says that a child has ended, or is a Process's.
func (s *stock) passes() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nobodys--
}

// drop removes a child that has ended, and reports whether it was there.
func (s *stock) drop(w *warmChild, status syscall.WaitStatus) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.children, w)
	if i < 0 {
		return false
	}
	s.children = slices.Delete(s.children, i, i+1)
	if !w.ready {
		w.died = earlyEnd(status) // and so, perhaps, will the next one: refill stops
	}
	w.settleLocked()
	if w.ready {
		s.fillLocked()
	}
	return true
}

// has reports whether a child is in the stock, and so has no job.
func (s *stock) has(w *warmChild) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.children, w)
}

func (s *stock) isReady(w *warmChild) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.ready = true
	w.settleLocked()
}

// fillAndWait returns when all children are ready.
func (s *stock) fillAndWait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.warmUp()
	for {
		s.mu.Lock()
		if n := s.targetLocked(); len(s.children) >= n && !slices.ContainsFunc(s.children, func(w *warmChild) bool { return !w.ready }) {
			s.mu.Unlock()
			return nil
		}
		answer := make(chan error, 1)
		s.waiting = append(s.waiting, answer)
		if !s.filling {
			s.filling = true
			go s.refill()
		} else {
			s.hurryLocked()
		}
		s.mu.Unlock()
		select {
		case err := <-answer:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// answerLocked tells those who wait in fillAndWait.
func (s *stock) answerLocked(err error) {
	for _, c := range s.waiting {
		c <- err
	}
	s.waiting = nil
}

// stop ends all children that are ready, because this process is about to exit. It would be enough to exit.
func (s *stock) stop() {
	s.mu.Lock()
	s.stopped = true
	if s.idle != nil {
		s.idle.Stop()
	}
	all := s.emptyLocked()
	s.mu.Unlock()
	letGo(all)
	// So that none is left as a zombie with whoever inherits it.
	limit := time.NewTimer(stopTime)
	defer limit.Stop()
	for _, w := range all {
		select {
		case <-w.gone:
		case <-limit.C:
			return
		}
	}
}
