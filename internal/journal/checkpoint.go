package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A Checkpoint is a snapshot being written: records that lead to the state to which the log led so far. It may be written
// while the log goes on, and each record in it may reflect a later state of what it is about than another: the writer notes, with [Checkpoint.Position], which. What
// its log says about that before this position, the reader has then to pass over. It is for one goroutine.
type Checkpoint struct {
	j      *Journal
	number uint64
	dir    string // until it is complete
	part   *part
	w      Writer
	buf    []byte
	at     uint64
	err    error

	distrusted *error // what the journal's was when it began
}

// errClosing ends a checkpoint when the journal is being closed.
var errClosing = errors.New("journal: is being closed")

// Position is Journal.Position.
func (c *Checkpoint) Position() uint64 { return c.j.Position() }

// Begin begins a record.
func (c *Checkpoint) Begin() *Writer {
	c.w.owner = c
	c.w.open(c.buf)
	return &c.w
}

func (c *Checkpoint) ended() {
	c.buf, c.w.b = c.w.b, nil
	if len(c.buf) >= pieceSize {
		c.write()
	}
}

// Err returns why the checkpoint will come to nothing; nil if all is well so far.
func (c *Checkpoint) Err() error {
	if c.err == nil {
		select {
		case <-c.j.closing:
			c.err = errClosing
		default:
		}
	}
	return c.err
}

func (c *Checkpoint) write() {
	if c.Err() == nil && len(c.buf) > 0 {
		c.err = c.part.append(c.at, c.buf, 0)
	}
	c.at += uint64(len(c.buf))
	c.buf = c.buf[:0]
	if cap(c.buf) > 2*pieceSize {
		c.buf = nil
	}
}

const (
	partPrefix     = "log-"
	snapshotPrefix = "snapshot-"
	unfinished     = ".tmp"
)

func partName(n uint64) string     { return fmt.Sprintf("%s%08d", partPrefix, n) }
func snapshotName(n uint64) string { return fmt.Sprintf("%s%08d", snapshotPrefix, n) }

// numberOf reads what partName or snapshotName wrote.
func numberOf(name, prefix string) (n uint64, ok bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// long reports whether the log has become so long that a checkpoint is due.
func (j *Journal) long() bool {
	j.io.Lock()
	defer j.io.Unlock()
	return j.logSize.Load()+j.part.size > max(j.options.CompactSize, j.snapshot.Load())
}

// compactSoon begins a checkpoint, unless there is one.
func (j *Journal) compactSoon() {
	if j.options.Compact == nil || !j.compacting.TryLock() {
		return
	}
	if time.Now().Before(j.retry) {
		j.compacting.Unlock()
		j.soon()
		return
	}
	j.work.Go(func() {
		defer j.compacting.Unlock()
		if err := j.compact(); err != nil {
			// Most likely the disk is full. Writing half a snapshot in vain each second would not help.
			j.retry = time.Now().Add(retryPauses * j.options.Pause)
			j.soon()
		}
	})
}

// retryPauses is how many of Options.Pause a checkpoint that failed is not tried again.
const retryPauses = 10

// Compact writes a checkpoint now, and returns when it stands. If one is being written, it waits for that first.
func (j *Journal) Compact() error {
	if j.options.Compact == nil {
		return errors.New("journal: nobody writes its checkpoints")
	}
	j.compacting.Lock()
	defer j.compacting.Unlock()
	return j.compact()
}

func (j *Journal) compact() error {
	distrusted := j.distrust.Load()
	c, err := j.checkpoint(distrusted)
	if err != nil {
		return err
	}
	if err := j.options.Compact(c); err != nil {
		c.err = errors.Join(c.err, err)
	}
	if err := c.finish(); err != nil {
		return err
	}
	if distrusted != nil && j.distrust.CompareAndSwap(distrusted, nil) {
		j.soon() // to admit again
	}
	return nil
}

// checkpoint begins a new part of the log, and the snapshot of what was noted before it.
func (j *Journal) checkpoint(distrusted *error) (*Checkpoint, error) {
	j.io.Lock()
	defer j.io.Unlock()
	if err := j.writeLocked(); err != nil {
		return nil, err
	}
	if err := j.newPartLocked(); err != nil {
		return nil, err
	}
	c := &Checkpoint{j: j, number: j.number, distrusted: distrusted}
	c.dir = filepath.Join(j.dir, snapshotName(c.number)+unfinished)
	var err error
	if c.part, err = createPart(c.dir, 0, segmentSize); err != nil {
		os.RemoveAll(c.dir)
		return nil, err
	}
	return c, nil
}

// finish makes the snapshot the one that counts, and removes what it replaces.
func (c *Checkpoint) finish() error {
	c.Begin().End() // an empty record says that it is complete
	c.write()
	err := c.Err()
	if err == nil {
		err = c.part.sync()
	}
	c.part.close()
	if err == nil {
		// It reflects what the log got meanwhile. That must not be lost while the snapshot is not, so it comes first.
		err = c.j.syncFrom(c.number, c.distrusted)
	}
	name := filepath.Join(c.j.dir, snapshotName(c.number))
	if err == nil {
		err = os.Rename(c.dir, name)
	}
	if err != nil {
		os.RemoveAll(c.dir)
		return err
	}
	if err := syncFile(c.j.dir); err != nil {
		return err // the old ones are still there
	}
	c.j.forget(c.number)
	c.j.snapshot.Store(c.part.size)
	removeBefore(c.j.dir, c.number)
	return nil
}

// removeBefore removes parts and snapshots that a snapshot has replaced, and what was never completed. What
// cannot be removed does no harm.
func removeBefore(dir string, number uint64) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		name := e.Name()
		n, ok := numberOf(name, partPrefix)
		if !ok {
			n, ok = numberOf(name, snapshotPrefix)
		}
		if ok && n < number || strings.HasSuffix(name, unfinished) && strings.HasPrefix(name, snapshotPrefix) {
			os.RemoveAll(filepath.Join(dir, name))
		}
	}
}
