package store

import (
	"container/heap"
	"fmt"
	"math"
	"time"
	"weak"
)

// An expiry is the keys of a dict that have a time to live. The one that ends first stands at the top of a heap, and one timer waits
// for it; whoever takes the dict's lock removes first what is due, so that no one ever sees an entry that has outlived its time.
//
// A key that is leased does not go while it is: nobody but the lease's holder may change it. It goes when the lease ends.
type expiry struct {
	ends  map[string]*deadline
	heap  deadlines
	timer *time.Timer // for the top; nil if there is none
}

type deadline struct {
	at    time.Time
	key   string
	index int // in the heap; -1 if it has passed and the key is leased
}

// deadlines are a heap.
type deadlines []*deadline

func (h deadlines) Len() int           { return len(h) }
func (h deadlines) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h deadlines) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push and Pop are for package heap.
func (h *deadlines) Push(x any) {
	e := x.(*deadline)
	e.index = len(*h)
	*h = append(*h, e)
}

// Pop removes the last.
func (h *deadlines) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.index = -1
	return e
}

// due reports whether something has to go.
func (x *expiry) due() bool { return len(x.heap) > 0 && !time.Now().Before(x.heap[0].at) }

// drop lets a key live on.
func (x *expiry) drop(key string) {
	e := x.ends[key]
	if e == nil {
		return
	}
	delete(x.ends, key)
	if e.index >= 0 {
		heap.Remove(&x.heap, e.index)
	}
}

// lock locks the dict for a change.
func (d *Dict) lock() {
	d.mu.Lock()
	if d.expiry != nil && d.expiry.due() {
		d.expireLocked()
	}
}

// rlock locks the dict for reading.
func (d *Dict) rlock() {
	d.mu.RLock()
	for d.expiry != nil && d.expiry.due() {
		d.mu.RUnlock()
		d.lock()
		d.mu.Unlock()
		d.mu.RLock()
	}
}

// expireLocked removes what is due.
func (d *Dict) expireLocked() {
	x := d.expiry
	for x.due() {
		e := heap.Pop(&x.heap).(*deadline)
		if d.leases[e.key] == nil {
			d.removeLocked([]byte(e.key))
		}
	}
	d.wakeLocked()
}

// wakeLocked sets the timer for the next deadline.
func (d *Dict) wakeLocked() {
	x := d.expiry
	if len(x.ends) == 0 {
		if x.timer != nil {
			x.timer.Stop()
		}
		d.expiry = nil
		return
	}
	if len(x.heap) == 0 {
		return
	}
	if d.self.ledger.loading {
		return // see loaded
	}
	left := time.Until(x.heap[0].at)
	if x.timer != nil {
		x.timer.Reset(left)
		return
	}
	// The timer does not keep a dict alive that was freed.
	self := weak.Make(d)
	x.timer = time.AfterFunc(left, func() {
		if d := self.Value(); d != nil {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.expiry != nil {
				d.expireLocked()
			}
		}
	})
}

// lateLocked removes a key whose deadline has passed while it was leased. It is called when the lease has ended.
func (d *Dict) lateLocked(key string) {
	if d.expiry == nil {
		return
	}
	if e := d.expiry.ends[key]; e != nil && e.index < 0 {
		d.removeLocked([]byte(key))
	}
}

// liveLocked gives a key that is there a deadline, or takes it away if at is zero.
func (d *Dict) liveLocked(key string, at time.Time) {
	if d.expiry == nil {
		if at.IsZero() {
			return
		}
		d.expiry = &expiry{ends: map[string]*deadline{}}
	}
	d.noteLifeLocked(key, at)
	d.expiry.drop(key)
	if !at.IsZero() {
		e := &deadline{at: at, key: key}
		d.expiry.ends[key] = e
		heap.Push(&d.expiry.heap, e)
	}
	d.wakeLocked()
}

// until returns the moment at which a time to live ends.
func until(ttl time.Duration) (time.Time, error) {
	if ttl <= 0 {
		return time.Time{}, fmt.Errorf("%w: a time to live of %v", ErrInvalid, ttl)
	}
	if at := time.Now().Add(ttl); at.Before(farthest) {
		return at, nil
	}
	return farthest, nil
}

// farthest is the last moment that can be noted: in the year 2262.
var farthest = time.Unix(0, math.MaxInt64)
