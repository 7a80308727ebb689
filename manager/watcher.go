package manager

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-multiproc/multiproc/internal/duplex"
)

// A watcher serves the sessions whose clients are busy in their rings, all of them by one goroutine, which looks at one ring after the other and
// does what it finds. While it does so a request costs neither a system call nor the waking of a goroutine, on however many connections
// they come; each session's own goroutine sleeps, listening to its socket.
//
// A session is watched as long as something comes every watchTime, and no longer: then its client is asked for the bell, which wakes the
// session's goroutine. When nothing is left to be watched the watcher's goroutine ends. So a quiet server does nothing at all,
// and one with busy clients uses one CPU for them, like many servers with one thread. Whatever would block the watcher (a client that does not
// read its replies) is handed back to the session's own goroutine; requests that wait for others have goroutines in any case.
//
// On a machine with one CPU there is none: looking there only keeps the client from writing.
type watcher struct {
	server *server

	changed atomic.Bool // hot has changed since the goroutine looked

	mu      sync.Mutex
	hot     []*session
	running bool
}

// watchTime is how long a session is watched after its last request.
const watchTime = int64(50 * time.Microsecond)

// watched is the part of a session that the watcher has to do with.
type watched struct {
	turn sync.Mutex  // held by whoever reads and does requests
	hot  atomic.Bool // the watcher may take its turn
	err  error       // what ended the connection while the watcher had the turn

	// Guarded by watcher.mu.
	listed bool // is in watcher.hot, or in what its goroutine has made of that

	active atomic.Bool // something came since since
	since  int64       // when it was last found idle; the watcher's goroutine's

	// The session's goroutine's, and the watcher's while it is hot.
	served bool // something came while it was watched
	misses int  // how often that was not so, in a row
	skip   int  // how often not to be watched
}

const watchMisses = 6 // 1 << watchMisses waits without being watched, at most

// watch has the watcher serve s until unwatch, or reports that it would not be worth it. The session's goroutine calls it, after it has done
// all that there was.
func (w *watcher) watch(s *session) bool {
	h := &s.watched
	if h.skip > 0 {
		h.skip--
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.running {
		if !duplex.StartLooking() {
			return false
		}
	}
	if !h.listed {
		if !s.stream.rings.Watch() {
			if !w.running {
				duplex.StopLooking()
			}
			return false
		}
		h.listed = true
		w.hot = append(w.hot, s)
	}
	h.active.Store(true)
	h.served = false
	h.hot.Store(true)
	w.changed.Store(true)
	if !w.running {
		w.running = true
		w.server.work.Go(w.run)
	}
	return true
}

// unwatch takes the turn back.
func (w *watcher) unwatch(s *session) {
	h := &s.watched
	if h.hot.Swap(false) {
		w.changed.Store(true)
	}
	h.turn.Lock() // the watcher may be in the middle of something
	served := h.served
	h.turn.Unlock()
	if served {
		h.misses = 0
		return
	}
	h.misses = min(h.misses+1, watchMisses)
	h.skip = 1<<h.misses - 1
}

// run serves until nobody is hot.
func (w *watcher) run() {
	var list []*session
	var pace duplex.Pace
	for rounds := 1; ; rounds++ {
		if w.changed.Load() {
			if list = w.refresh(list); len(list) == 0 {
				return
			}
		}
		found := false
		for _, s := range list {
			if w.serve(s) {
				found = true
			}
		}
		switch {
		case found:
			pace.Reset()
		case !pace.Next():
			w.evict(list, 0)
			continue
		}
		if rounds%64 == 0 {
			w.evict(list, watchTime)
		}
	}
}

// refresh returns the sessions that are hot now.
func (w *watcher) refresh(old []*session) []*session {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed.Store(false)
	list := old[:0]
	for _, s := range w.hot {
		if s.watched.hot.Load() {
			list = append(list, s)
			continue
		}
		s.watched.listed = false
		s.stream.rings.Unwatch()
	}
	clear(w.hot[len(list):])
	w.hot = append(w.hot[:0], list...)
	if len(list) == 0 {
		w.running = false
		duplex.StopLooking()
	}
	return list
}

// serve does what has come for s, if there is anything and it is the watcher's turn, and reports whether it was so.
func (w *watcher) serve(s *session) bool {
	h := &s.watched
	if !h.turn.TryLock() {
		return false
	}
	defer h.turn.Unlock()
	if !h.hot.Load() || !s.stream.rings.Ready() {
		return false
	}
	h.active.Store(true)
	h.served = true
	if !s.serveRing() {
		h.hot.Store(false)
		w.changed.Store(true)
		s.stream.rings.Nudge()
	}
	return true
}

// evict lets go of those sessions for which nothing has come for that long. Their goroutines stay where they are, and the bell will wake them.
func (w *watcher) evict(list []*session, idle int64) {
	now := int64(time.Since(watcherStart))
	for _, s := range list {
		h := &s.watched
		if idle > 0 && h.active.Swap(false) {
			h.since = now
			continue
		}
		if now-h.since < idle {
			continue
		}
		h.turn.Lock()
		if h.hot.Load() && !s.stream.rings.Doze() {
			h.hot.Store(false)
			w.changed.Store(true)
		}
		h.turn.Unlock()
	}
}

var watcherStart = time.Now()
