package wire

import "slices"

// A Backlog is what a Conn has received and nobody has read. It goes along when the socket moves to another
// process, else messages would be lost on the way.
type Backlog struct {
	Bytes  []byte  // from the beginning of a frame
	Rights [][]int // descriptors of the frames that start at Starts
	Starts []int   // in Bytes, ascending
}

// BeginMove stops all use of c, so that its socket can go to another process, and returns what must go along; the descriptors
// in it stay c's until Close. Either Close ends the move, or AbortMove takes it back. It fails with ErrBusy if another goroutine reads
// or writes now, and with ErrMoving if a move has begun already.
func (c *Conn) BeginMove() (Backlog, error) {
	if !c.readMu.TryLock() {
		return Backlog{}, c.busy()
	}
	defer c.readMu.Unlock()
	if !c.writeMu.TryLock() {
		return Backlog{}, c.busy()
	}
	defer c.writeMu.Unlock()
	switch {
	case c.closed.Load():
		return Backlog{}, errClosed
	case c.reader.err != nil:
		return Backlog{}, c.reader.err
	case c.writer.err != nil:
		return Backlog{}, c.writer.err
	case c.reader.own.lost || c.reader.tail.lost:
		return Backlog{}, errLost
	}
	c.reader.err, c.writer.err = ErrMoving, ErrMoving
	return c.reader.backlog(), nil
}

func (c *Conn) busy() error {
	if c.closed.Load() {
		return errClosed
	}
	return ErrBusy
}

// AbortMove makes c usable again after BeginMove.
func (c *Conn) AbortMove() {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.reader.err, c.writer.err = nil, nil
}

func (r *reader) backlog() Backlog {
	var b Backlog
	if r.inFrame {
		b.Bytes = appendHeader(nil, r.size)
		b.Bytes = append(b.Bytes, r.part...)
	}
	shift := len(b.Bytes) - r.start
	b.Bytes = append(b.Bytes, r.ahead[r.start:r.end]...)
	if len(r.own.fds) > 0 {
		b.Rights, b.Starts = append(b.Rights, slices.Clone(r.own.fds)), append(b.Starts, 0)
	}
	if len(r.tail.fds) > 0 {
		b.Rights, b.Starts = append(b.Rights, slices.Clone(r.tail.fds)), append(b.Starts, r.tailAt+shift)
	}
	return b
}

// Restore gives a new Conn the backlog that came with its socket. It owns the descriptors in it. It must be called before any
// other use of c. A backlog that no BeginMove can have made is an error.
func (c *Conn) Restore(b Backlog) error {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	r := &c.reader
	ok := len(b.Rights) == len(b.Starts) && len(b.Rights) <= 2
	for i, at := range b.Starts {
		switch {
		case !ok:
		case at == 0 && i == 0:
			r.own.fds = b.Rights[i]
			continue
		case at > 0 && at < len(b.Bytes) && i == len(b.Starts)-1:
			r.tail.fds, r.tailAt = b.Rights[i], at
			continue
		}
		ok = false
	}
	if !ok {
		r.own.fds, r.tail.fds = nil, nil
		for _, fds := range b.Rights {
			(&received{fds: fds}).drop()
		}
		return errBacklog
	}
	r.ahead, r.start, r.end = b.Bytes, 0, len(b.Bytes)
	c.publishReady()
	return nil
}
