package store

import (
	"errors"
	"fmt"
)

// A Queue hands messages on, first in, first out. Who takes one has it (Get) or answers for it until it is dealt with
// (Lease). Those who wait, for a message or for room, are served in turn.
//
// A session that dies while it waits takes nothing along. Messages that it has leased are delivered again; of those that it has
// got, Join says that they were not dealt with.
//
// Its methods are safe for concurrent use. While messages wait in the queue or are leased, it keeps what they mention alive.
type Queue struct {
	self      *object
	graph     *graph
	capacity  uint64  // 0: any number
	maxLeases uint64  // how often a message is delivered; 0: any number of times
	dead      *object // the Queue that takes those that were delivered that often
	deadID    ID      // from the journal

	hall
	seq     uint64 // of the newest message
	items   deque[qitem]
	again   deque[qitem] // those that came back, which are first
	bytes   int64        // of both
	shut    bool
	inHand  uint64              // leased
	leased  map[uint64]qitem    // those, by number
	out     int64               // bytes of those
	fresh   uint64              // taken by sessions that waited, and perhaps did not get it
	owed    map[*Session]uint64 // taken, and not said to be done with
	lost    uint64              // likewise, by sessions that are gone
	getters waitList
	putters waitList
	joiners waitList
}

type qitem struct {
	seq        uint64 // its number in the queue
	data       string
	refs       *mentions
	deliveries uint64
}

// newQueue makes one of two parameters: the capacity (0 = any), and how often a message is leased before it is a dead
// letter (0 = any number of times). In the journal there is a third: the queue of dead letters.
func newQueue(params []uint64) (body, error) {
	var p [3]uint64
	copy(p[:], params)
	return &Queue{capacity: p[0], maxLeases: p[1], deadID: ID(p[2]), owed: map[*Session]uint64{}}, nil
}

func (q *Queue) place(self *object, g *graph) {
	q.self, q.graph = self, g
	q.drafting.place(self, q)
	if q.maxLeases == 0 {
		return
	}
	switch q.dead = g.objects[q.deadID]; {
	case q.dead != nil:
	case g.ledger.loading: // it comes later
		q.dead = g.expect(q.deadID)
	default:
		q.dead = g.addLocked("", KindQueue, self.typ, []uint64{q.capacity}, &Queue{capacity: q.capacity, owed: map[*Session]uint64{}})
		q.dead.ext = 0 // this one keeps it
	}
	g.linkLocked(self, q.dead, 1)
	self.params = []uint64{q.capacity, q.maxLeases, uint64(q.dead.id)}
}

func (q *Queue) object() *object { return q.self }

func (q *Queue) size() (entries, bytes int64) {
	q.lock()
	defer q.unlock()
	return int64(q.lenLocked()), q.bytes
}

// Queue returns the queue with that id, to which the session must hold a reference.
func (s *Session) Queue(id ID) (*Queue, error) { return bodyOf[*Queue](s, id, KindQueue) }

// Len returns how many messages wait to be taken.
func (q *Queue) Len() int {
	q.lock()
	defer q.unlock()
	return q.lenLocked()
}

// Cap returns how many messages there can be, 0 if any number.
func (q *Queue) Cap() uint64 { return q.capacity }

func (q *Queue) lenLocked() int { return q.items.len() + q.again.len() }

// DeadLetters returns the queue of the messages that were delivered too often, and a reference to it for the session.
func (q *Queue) DeadLetters(s *Session) (ID, error) {
	if q.dead == nil {
		return 0, fmt.Errorf("%w: the queue was made without a limit of deliveries, and has no dead letters", ErrNotFound)
	}
	return q.dead.id, s.retain(&mentions{[]*object{q.dead}})
}

func (q *Queue) room() uint64 {
	if q.capacity == 0 {
		return 1 << 62
	}
	used := uint64(q.lenLocked()) + q.inHand
	return max(used, q.capacity) - used
}

// Put adds a message, which may have to wait for room.
func (q *Queue) Put(s *Session, w *Wait, v Value) error {
	m, err := s.mention(v.Refs)
	if err != nil {
		return err
	}
	q.lock()
	defer q.unlock()
	switch {
	case q.shut:
		return ErrShut
	case q.putters.n == 0 && q.room() > 0:
		q.add(qitem{data: v.Data, refs: m})
		return nil
	}
	w.items, w.Size = []qitem{{data: v.Data, refs: m}}, int(sizeOf(v.Data, m))
	if err := s.park(w, q, &q.putters); err != ErrParked {
		return err
	}
	q.graph.link(q.self, m) // the session may let go of it meanwhile
	return ErrParked
}

// PutMany adds as many of the messages as there is room for, at one moment, and returns how many these are.
func (q *Queue) PutMany(s *Session, values []Value) (int, error) {
	items := make([]qitem, len(values))
	for i, v := range values {
		m, err := s.mention(v.Refs)
		if err != nil {
			return 0, err
		}
		items[i] = qitem{data: v.Data, refs: m}
	}
	q.lock()
	defer q.unlock()
	switch {
	case q.shut:
		return 0, ErrShut
	case q.putters.n > 0:
		return 0, nil
	}
	n := int(min(q.room(), uint64(len(items))))
	for _, it := range items[:n] {
		q.push(it)
	}
	q.pump()
	return n, nil
}

func (q *Queue) add(it qitem) {
	q.push(it)
	q.pump()
}

func (q *Queue) push(it qitem) {
	q.graph.link(q.self, it.refs)
	q.admit(it)
}

// admit adds a message of which the references count already.
func (q *Queue) admit(it qitem) {
	q.seq++
	it.seq = q.seq
	q.notePut(it)
	q.bytes += sizeOf(it.data, it.refs)
	q.items.pushBack(it)
}

// pop takes out the message that is next.
func (q *Queue) pop() qitem {
	var it qitem
	if q.again.len() > 0 {
		it = q.again.popFront()
	} else {
		it = q.items.popFront()
	}
	q.bytes -= sizeOf(it.data, it.refs)
	return it
}

func (q *Queue) head() *qitem {
	if q.again.len() > 0 {
		return q.again.at(0)
	}
	return q.items.at(0)
}

// getBytes is about how much GetMany takes at once.
const getBytes = 256 << 10

// Get takes up to n messages, at least one, for which it may have to wait. They are in Values. Flag says that it had to wait: then
// the front end must Confirm when the client has them; if its session ends before that, it never got them.
func (q *Queue) Get(s *Session, w *Wait, n int) error {
	w.want = n
	return q.get(s, w)
}

// Lease takes a message, for which it may have to wait, until Ack or Nack. It is in Value, and N is how often it was delivered.
func (q *Queue) Lease(s *Session, w *Wait) error {
	w.want, w.lease = 1, true
	return q.get(s, w)
}

// TryGet and TryLease return ErrBusy instead of waiting.
func (q *Queue) TryGet(s *Session, w *Wait, n int) error {
	w.want = n
	return q.tryGet(s, w)
}

// TryLease is Lease that returns ErrBusy instead of waiting.
func (q *Queue) TryLease(s *Session, w *Wait) error {
	w.want, w.lease = 1, true
	return q.tryGet(s, w)
}

func (q *Queue) tryGet(s *Session, w *Wait) error {
	q.lock()
	defer q.unlock()
	if q.lenLocked() == 0 {
		if q.drained() {
			return ErrShut
		}
		return ErrBusy
	}
	return q.getNow(s, w)
}

func (q *Queue) get(s *Session, w *Wait) error {
	q.lock()
	defer q.unlock()
	switch {
	case q.lenLocked() > 0: // then nobody waits
		return q.getNow(s, w)
	case q.drained():
		return ErrShut
	}
	return s.park(w, q, &q.getters)
}

func (q *Queue) getNow(s *Session, w *Wait) error {
	if err := s.claim(w, q); err != nil {
		return err
	}
	if err := q.hand(w); err != nil {
		w.disclaim()
		return err
	}
	q.pump()
	return nil
}

// drained reports whether there will be no more messages.
func (q *Queue) drained() bool {
	return q.shut && q.lenLocked() == 0 && q.inHand == 0 && q.fresh == 0
}

// mayHand says why w cannot be given messages, if so: its client has not taken those before, and they would pile up.
func (q *Queue) mayHand(w *Wait) error {
	if w.waited && w.Full != nil && w.Full() {
		return fmt.Errorf("%w: this connection does not read what it is sent, and the server keeps no more for it than its Options.MaxBuffered", ErrOverload)
	}
	if w.lease {
		return nil
	}
	return w.session.mayTake()
}

// hand gives messages to w, which has claimed them. There must be one.
func (q *Queue) hand(w *Wait) error {
	s := w.session
	if err := q.mayHand(w); err != nil {
		return err
	}
	size := 0
	for i := 0; i < w.want && q.lenLocked() > 0 && size < getBytes; i++ {
		it := q.head()
		v, err := s.value(it.data, it.refs)
		if err != nil { // the session has ended
			for _, it := range w.items {
				q.notePut(it)
			}
			q.putBack(w.items)
			w.items = nil
			return err
		}
		w.Values = append(w.Values, v)
		size += int(sizeOf(it.data, it.refs))
		w.items = append(w.items, q.pop())
		if !w.lease { // one that is leased stays, in the journal, until it is dealt with
			q.noteRemove(w.items[len(w.items)-1])
		}
	}
	w.state, w.Flag = stateHolding, w.waited
	if w.lease {
		it := &w.items[0]
		it.deliveries++
		q.noteDelivered(*it)
		w.Value, w.N = w.Values[0], it.deliveries
		q.inHand++
		if q.leased == nil {
			q.leased = map[uint64]qitem{}
		}
		q.leased[it.seq] = *it
		q.out += sizeOf(it.data, it.refs)
		return nil
	}
	w.size = size
	s.take(size)
	q.owed[s] += uint64(len(w.items))
	if w.waited {
		q.fresh++
	}
	return nil
}

// putBack puts messages back to where they were taken from.
func (q *Queue) putBack(items []qitem) {
	for i := len(items) - 1; i >= 0; i-- {
		q.bytes += sizeOf(items[i].data, items[i].refs)
		q.again.pushFront(items[i])
	}
}

// pump serves those who wait, as far as it goes.
func (q *Queue) pump() {
	for {
		switch {
		case q.getters.n > 0 && q.lenLocked() > 0:
			w := q.getters.pop()
			switch err := q.hand(w); {
			case err == nil:
				q.wake(w, nil)
			case errors.Is(err, ErrOverload):
				w.disclaim()
				q.wake(w, err)
			default:
				w.state = stateOver
			}
			continue
		case q.putters.n > 0 && !q.shut && q.room() > 0:
			w := q.putters.pop()
			w.disclaim()
			q.admit(w.items[0])
			q.wake(w, nil)
			continue
		}
		break
	}
	if q.shut {
		for w := q.putters.pop(); w != nil; w = q.putters.pop() {
			w.disclaim()
			q.graph.unlink(q.self, w.items[0].refs)
			q.wake(w, ErrShut)
		}
		if q.drained() {
			for w := q.getters.pop(); w != nil; w = q.getters.pop() {
				w.disclaim()
				q.wake(w, ErrShut)
			}
		}
	}
	if q.joiners.n > 0 {
		if idle, err := q.idle(); idle || err != nil {
			for w := q.joiners.pop(); w != nil; w = q.joiners.pop() {
				w.disclaim()
				q.wake(w, err)
			}
		}
	}
}

// idle reports whether all messages are dealt with.
func (q *Queue) idle() (bool, error) {
	if q.lost > 0 {
		return false, fmt.Errorf("%w: processes died, or closed the queue, without TaskDone for %d messages that they had taken; put them again if you know them, and call Recover", ErrOwnerDied, q.lost)
	}
	return q.lenLocked() == 0 && q.inHand == 0 && q.putters.n == 0 && len(q.owed) == 0, nil
}

// Ack ends the lease that the session's operation of that id got: the message is dealt with.
func (q *Queue) Ack(s *Session, id uint64) error {
	q.lock()
	defer q.unlock()
	w, err := q.leaseOf(s, id)
	if err != nil {
		return err
	}
	w.disclaim()
	q.inHand--
	q.unlease(w.items[0])
	q.noteRemove(w.items[0])
	q.graph.unlink(q.self, w.items[0].refs)
	q.pump()
	return nil
}

// Nack ends the lease that the session's operation of that id got: the message is to be delivered again.
func (q *Queue) Nack(s *Session, id uint64) error {
	q.lock()
	defer q.unlock()
	w, err := q.leaseOf(s, id)
	if err != nil {
		return err
	}
	w.disclaim()
	q.returnLease(w)
	return nil
}

// unlease forgets a lease.
func (q *Queue) unlease(it qitem) {
	delete(q.leased, it.seq)
	q.out -= sizeOf(it.data, it.refs)
}

func (q *Queue) leaseOf(s *Session, id uint64) (*Wait, error) {
	w, on := s.claimOf(id)
	if w == nil || on != claimed(q) || w.state != stateHolding || !w.lease {
		return nil, fmt.Errorf("%w: the lease has ended already", ErrLease)
	}
	return w, nil
}

// returnLease delivers again what was leased, or gives it up.
func (q *Queue) returnLease(w *Wait) {
	it := w.items[0]
	q.inHand--
	q.unlease(it)
	if q.dead != nil && it.deliveries >= q.maxLeases {
		q.bury(it, q.dead.body.(*Queue))
	} else {
		q.bytes += sizeOf(it.data, it.refs)
		q.again.pushBack(it)
	}
	q.pump()
}

// bury moves a message to the queue of dead letters, and drops the oldest there if there are too many. A kill finds it in one of the two. This
// queue's lock is held; it is taken before the other's.
func (q *Queue) bury(it qitem, dead *Queue) {
	dead.lock()
	for dead.room() == 0 && dead.lenLocked() > 0 {
		old := dead.pop()
		dead.noteRemove(old)
		dead.graph.unlink(dead.self, old.refs)
	}
	dead.add(qitem{data: it.data, refs: it.refs})
	q.noteRemove(it)
	q.commitWith(&dead.drafting)
	dead.unlock()
	q.graph.unlink(q.self, it.refs)
}

// TaskDone says that one of the messages that the session has got is dealt with.
func (q *Queue) TaskDone(s *Session) error {
	q.lock()
	defer q.unlock()
	switch q.owed[s] {
	case 0:
		return ErrNotTaken
	case 1:
		delete(q.owed, s)
		q.pump()
	default:
		q.owed[s]--
	}
	return nil
}

// Join waits until all messages are dealt with. It is ErrOwnerDied if a session is gone that had not done with its own.
func (q *Queue) Join(s *Session, w *Wait) error {
	q.lock()
	defer q.unlock()
	if idle, err := q.idle(); idle || err != nil {
		return err
	}
	return s.park(w, q, &q.joiners)
}

// Recover counts what sessions that are gone have taken, and not done with, as dealt with, and returns how many messages that are.
func (q *Queue) Recover() uint64 {
	q.lock()
	defer q.unlock()
	n := q.lost
	q.lost = 0
	q.pump()
	return n
}

// Drop takes away all messages that wait to be taken, and returns how many that were.
func (q *Queue) Drop() int {
	q.lock()
	defer q.unlock()
	n := q.lenLocked()
	for range n {
		it := q.pop()
		q.noteRemove(it)
		q.graph.unlink(q.self, it.refs)
	}
	q.pump()
	return n
}

// Shutdown lets nothing in any more.
func (q *Queue) Shutdown() {
	q.lock()
	defer q.unlock()
	q.shut = true
	q.note(effectQueueShut)
	q.pump()
}

// settle leaves to the session for good what w was handed.
func (q *Queue) settle(w *Wait) {
	w.disclaim()
	w.session.take(-w.size)
	for _, it := range w.items {
		q.graph.unlink(q.self, it.refs)
	}
	if w.waited {
		q.fresh--
	}
}

// undo takes back what w was handed, as if it never had been.
func (q *Queue) undo(w *Wait) {
	w.disclaim()
	s := w.session
	s.take(-w.size)
	if n := uint64(len(w.items)); q.owed[s] > n {
		q.owed[s] -= n
	} else {
		delete(q.owed, s)
	}
	if w.waited {
		q.fresh--
	}
	for _, it := range w.items {
		q.notePut(it)
	}
	q.putBack(w.items)
	q.pump()
}

func (q *Queue) confirm(w *Wait) {
	q.lock()
	defer q.unlock()
	if w.state == stateHolding && !w.lease {
		q.settle(w)
		q.pump()
	}
}

func (q *Queue) giveUp(w *Wait) {
	q.lock()
	defer q.unlock()
	q.stop(w, ErrCancelled)
}

// stop ends a wait. It is not told if err is nil.
func (q *Queue) stop(w *Wait, err error) {
	if w.state != stateWaiting {
		return
	}
	putting := w.list == &q.putters
	w.unlist()
	w.disclaim()
	if putting {
		q.graph.unlink(q.self, w.items[0].refs)
		q.pump() // for Join
	}
	if err != nil {
		q.wake(w, err)
	}
}

func (q *Queue) abort(w *Wait) {
	q.lock()
	defer q.unlock()
	switch {
	case w.state == stateWaiting:
		q.stop(w, ErrCancelled)
	case w.state != stateHolding:
	case w.lease: // it was not delivered
		w.disclaim()
		w.items[0].deliveries--
		q.noteDelivered(w.items[0])
		q.inHand--
		q.unlease(w.items[0])
		q.putBack(w.items)
		q.pump()
	default:
		q.undo(w)
	}
}

func (q *Queue) forsake(w *Wait, died bool) {
	q.lock()
	defer q.unlock()
	switch {
	case w.state == stateWaiting:
		q.stop(w, unlessDied(died, errLetGo))
	case w.state != stateHolding:
	case w.lease:
		w.disclaim()
		q.returnLease(w)
	case w.waited: // the message came when nobody was there any more
		q.undo(w)
	default:
		q.settle(w)
	}
}

func (q *Queue) left(s *Session, _ bool) {
	q.lock()
	defer q.unlock()
	if n := q.owed[s]; n > 0 {
		delete(q.owed, s)
		q.lost += n
		q.pump()
	}
}

func (q *Queue) String() string { return fmt.Sprintf("queue %d", q.self.id) }
