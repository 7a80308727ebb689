package journal

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-multiproc/multiproc/internal/crash"
)

// When what was written is synced to the disk.
type Sync int

const (
	// SyncEachSecond syncs within about a second. A power cut may lose what was flushed in that time.
	SyncEachSecond Sync = iota
	// SyncAlways has each Flush sync; Flushes that wait at the same time share one.
	SyncAlways
	// SyncNever leaves it to the kernel, which writes what is about half a minute old, and to Close.
	SyncNever
)

// Options are a journal's settings. The zero value works.
type Options struct {
	// Sync says when the disk is made to have what was flushed.
	Sync Sync

	// Reserve is the space in bytes that is set aside for what is admitted. 0 is 8 MiB.
	Reserve int64

	// Compact writes a checkpoint: all that was noted before, in a shorter way. It runs in a goroutine of the journal, when the log has become
	// long, beside everything else. nil: the log grows.
	Compact func(c *Checkpoint) error

	// CompactSize is the size in bytes of a log that is short enough in any case. 0 is 64 MiB. Beyond it, a log is long when it is
	// larger than the last checkpoint.
	CompactSize int64

	// Pause is how long the journal waits before it looks after itself: syncs, gets over a trouble, begins a checkpoint. 0 is a second.
	Pause time.Duration
}

// Errors of Open.
var (
	// ErrVersion: the directory was written by a later version of this package.
	ErrVersion = errors.New("journal: unknown format")
	// ErrDamaged: something is missing, or not as it was written, in the midst of what was synced to the disk.
	ErrDamaged = errors.New("journal: damaged")
)

// ErrRefused is in the error of Admit when there is no space, or when the disk fails, with the cause.
var ErrRefused = errors.New("journal: cannot be written")

// A Journal is the open journal of a directory. Its methods are safe for concurrent use.
type Journal struct {
	dir     string
	options Options

	end   atomic.Uint64 // where the newest record ends in the stream
	acked atomic.Uint64 // Flush has nothing to wait for up to here; allStaged if each record is staged before its End returns
	due   atomic.Bool   // much is staged: the next Flush writes it

	mu    sync.Mutex // innermost: held from Begin to End
	buf   []byte     // records to be written
	at    uint64     // where buf begins in the stream
	spare []byte
	w     Writer
	stage stage

	trouble  atomic.Pointer[error] // why nothing is admitted; nil if all is well
	distrust atomic.Pointer[error] // how the disk failed to sync last; nil once that does not matter any more; see syncFailed

	io       sync.Mutex // held while the log is written
	part     *part
	number   uint64           // of part
	retired  []*part          // parts that are complete, and not yet synced
	written  atomic.Uint64    // how far the stream is; changed with mu as well
	synced   atomic.Uint64    // likewise, on the disk
	broken   error            // the last write failed, and what it was to write is still in buf
	reserve  reserve          // guarded by io
	promised atomic.Int64     // admitted, and not yet done
	room     atomic.Int64     // what may be pending
	logSize  atomic.Int64     // bytes of all parts since the last checkpoint but the current one
	sizes    map[uint64]int64 // of those parts

	syncing    sync.Mutex // held while the disk syncs
	compacting sync.Mutex
	retry      time.Time    // when a failed checkpoint may be tried again
	snapshot   atomic.Int64 // size of the last checkpoint, in bytes

	dirty    chan struct{} // something is to be done in a second
	complete chan struct{} // or now, since a part is complete, and wal keeps it in memory until it is closed
	closing  chan struct{}
	once     sync.Once
	work     sync.WaitGroup
}

// allStaged is further than a stream ever gets. While acked is that, a record need not move it.
const allStaged = math.MaxUint64

// keepSize is the largest buffer that is kept.
const keepSize = 1 << 20

// Begin begins a record, at the end of all others. Until its End nobody else can, so nothing that blocks may be done.
func (j *Journal) Begin() *Writer {
	j.mu.Lock()
	j.w.open(j.buf)
	return &j.w
}

func (j *Journal) ended() {
	from := j.w.start
	j.buf, j.w.b = j.w.b, nil
	end := j.at + uint64(len(j.buf))
	j.end.Store(end)
	first := false
	if j.stage.on {
		first = j.stage.used == 0
		if !j.stage.add(j.at+uint64(from), j.buf[from:]) {
			j.acked.Store(j.at + uint64(from)) // this one is the first that is not
		} else if j.stage.used >= stageDue {
			j.due.Store(true)
		}
	}
	j.mu.Unlock()
	if first {
		j.soon()
	}
}

// Position is the place in the stream behind the newest record.
func (j *Journal) Position() uint64 { return j.end.Load() }

// Flushed reports whether Flush has nothing to do.
func (j *Journal) Flushed() bool { return j.end.Load() <= j.acked.Load() && !j.due.Load() }

// SyncsAlways reports whether Flush syncs.
func (j *Journal) SyncsAlways() bool { return j.options.Sync == SyncAlways }

// Flush returns when all records that ended before it was called are with the kernel, and with SyncAlways synced. After an error it is not known
// whether they will be; the journal goes on trying.
func (j *Journal) Flush() error {
	to := j.end.Load()
	if to <= j.acked.Load() {
		if j.due.Load() && j.due.CompareAndSwap(true, false) {
			j.write() // an error is in j.trouble, and what was staged is still there
		}
		return nil
	}
	j.io.Lock()
	defer j.io.Unlock()
	if to <= j.acked.Load() { // whoever was here before us has written ours as well
		return nil
	}
	if err := j.writeLocked(); err != nil {
		return err
	}
	if j.options.Sync == SyncAlways {
		if err := j.syncLocked(); err != nil {
			return err
		}
		j.acked.Store(j.written.Load())
	}
	return nil
}

// soon has the journal look after itself in a second.
func (j *Journal) soon() {
	select {
	case j.dirty <- struct{}{}:
	default:
	}
}

// write writes what is pending to the log.
func (j *Journal) write() error {
	j.io.Lock()
	defer j.io.Unlock()
	return j.writeLocked()
}

// writeLocked writes what is pending to the log.
func (j *Journal) writeLocked() error {
	if j.broken != nil { // what the part's files hold is not known
		if err := j.newPartLocked(); err != nil {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
	}
	if j.part.size > partSize && j.newPartLocked() == nil { // if it fails, this one will do
		select {
		case j.complete <- struct{}{}:
		default:
		}
	}
	j.mu.Lock()
	buf := j.buf
	if len(buf) == 0 {
		j.resumeLocked()
		j.mu.Unlock()
		return nil
	}
	j.buf, j.spare = j.spare[:0], nil
	j.at += uint64(len(buf))
	j.stage.turn()
	j.due.Store(false)
	j.mu.Unlock()
	crash.At("journal.turned")

	err := j.part.append(j.written.Load(), buf, j.synced.Load())
	crash.At("journal.written")
	if err != nil {
		err = j.escapeLocked(buf, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		// Kept, in front of what has come meanwhile: memory has it already.
		j.at -= uint64(len(buf))
		j.buf = append(buf, j.buf...)
		j.stopStageLocked()
		j.broken = err
		j.refuse(err)
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	j.broken = nil
	j.written.Store(j.at)
	j.resumeLocked()
	if j.options.Sync != SyncAlways { // with which it counts when it is synced
		j.acked.Store(max(j.acked.Load(), j.at)) // more may have been staged meanwhile
	}
	if cap(buf) <= keepSize {
		j.spare = buf
	}
	j.soon()
	return nil
}

// resumeLocked has records staged from now on, if they are not and can be. j.mu is held too.
func (j *Journal) resumeLocked() {
	if j.stage.resume(j.at, j.buf); j.stage.on {
		j.acked.Store(allStaged)
	}
}

// stopStageLocked ends that. What was staged so far still counts. j.mu is held too.
func (j *Journal) stopStageLocked() {
	if j.stage.on {
		j.acked.Store(j.end.Load())
	}
	j.stage.stop()
}

// escapeLocked writes what could not be written into a new part, in the space that was set aside for this. The old part may have
// got some of it, which does no harm: it is the same.
func (j *Journal) escapeLocked(buf []byte, cause error) error {
	j.refuse(cause)
	j.reserve.release()
	j.room.Store(0)
	if err := j.newPartLocked(); err != nil {
		return cause
	}
	return j.part.append(j.written.Load(), buf, j.synced.Load())
}

// refuse lets nothing more be admitted.
func (j *Journal) refuse(err error) {
	j.trouble.Store(&err)
	j.soon()
}

// newPartLocked begins the next part of the log.
func (j *Journal) newPartLocked() error {
	p, err := createPart(filepath.Join(j.dir, partName(j.number+1)), j.written.Load(), math.MaxInt)
	if err != nil {
		os.RemoveAll(filepath.Join(j.dir, partName(j.number+1)))
		return err
	}
	p.number = j.number + 1
	if j.part != nil {
		j.retired = append(j.retired, j.part)
		j.sizes[j.number] = j.part.size
		j.logSize.Add(j.part.size)
	}
	j.part = p
	j.number++
	return nil
}

// syncLocked makes the disk have all that was written. j.io is held, so that nothing is written meanwhile. Only with SyncAlways may others sync at
// the same time, which they do likewise.
func (j *Journal) syncLocked() error {
	if err := j.syncParts(j.retired, j.part, j.written.Load()); err != nil {
		return err
	}
	j.retired = nil
	return nil
}

// sync does the same, beside those who write if they do not have to wait for it anyway.
func (j *Journal) sync() error {
	if j.options.Sync == SyncAlways {
		j.io.Lock()
		defer j.io.Unlock()
		return j.syncLocked()
	}
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.io.Lock()
	retired, part, written := j.retired, j.part, j.written.Load()
	j.io.Unlock()
	if err := j.syncParts(retired, part, written); err != nil {
		return err
	}
	j.io.Lock()
	defer j.io.Unlock()
	j.retired = j.retired[len(retired):] // more may have come
	return nil
}

// syncParts syncs parts in their order, and closes those that are complete.
func (j *Journal) syncParts(retired []*part, current *part, written uint64) error {
	if e := j.distrust.Load(); e != nil {
		return fmt.Errorf("%w: %w", ErrRefused, *e)
	}
	if written == j.synced.Load() && len(retired) == 0 {
		return nil
	}
	for _, p := range retired {
		if p.closed {
			continue
		}
		if err := p.sync(); err != nil {
			return j.syncFailed(err)
		}
		p.close()
	}
	if err := current.sync(); err != nil {
		return j.syncFailed(err)
	}
	j.synced.Store(written)
	return nil
}

// syncFailed: what the disk has now, nobody knows; the kernel does not try again, and a second fsync would find nothing to complain of. So
// until a checkpoint has written everything anew nothing is admitted, no sync is tried, and none is said to have worked: neither to
// who waits in Flush nor to those who read the log.
func (j *Journal) syncFailed(err error) error {
	j.distrust.Store(&err)
	j.refuse(err)
	return fmt.Errorf("%w: %w", ErrRefused, err)
}

// syncFrom writes what is pending and makes the disk have the parts from that number on, of which nobody has tried to sync any in vain if distrusted is
// what j.distrust was before they were made. What stands in earlier parts does not matter: a checkpoint has it.
func (j *Journal) syncFrom(number uint64, distrusted *error) error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.io.Lock()
	err := j.writeLocked()
	parts := append(slices.Clone(j.retired), j.part)
	if j.options.Sync == SyncAlways { // then others sync with this lock held
		defer j.io.Unlock()
	} else {
		j.io.Unlock()
	}
	if err != nil {
		return err
	}
	for _, p := range parts {
		if p.number < number || p.closed {
			continue
		}
		if err := p.sync(); err != nil {
			return j.syncFailed(err)
		}
	}
	if e := j.distrust.Load(); e != distrusted {
		return fmt.Errorf("%w: %w", ErrRefused, *e)
	}
	return nil
}

// forget closes parts before that number, which nobody needs any more.
func (j *Journal) forget(number uint64) {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	var old []*part
	j.io.Lock()
	j.retired = slices.DeleteFunc(j.retired, func(p *part) bool {
		if p.number < number {
			old = append(old, p)
		}
		return p.number < number
	})
	for n, size := range j.sizes {
		if n < number {
			j.logSize.Add(-size)
			delete(j.sizes, n)
		}
	}
	j.io.Unlock()
	for _, p := range old {
		p.close() // wal syncs it, for which no writer has to wait
	}
}

// Close writes and syncs what is left and closes the files. It is safe to call twice.
func (j *Journal) Close() error {
	var err error
	j.once.Do(func() {
		close(j.closing)
		j.work.Wait()
		j.io.Lock()
		defer j.io.Unlock()
		if err = j.writeLocked(); err == nil {
			err = j.syncLocked()
		}
		j.leaveStage(err == nil)
		for _, p := range append(j.retired, j.part) {
			p.close()
		}
		j.reserve.close()
	})
	return err
}

// Stats is a journal at one moment.
type Stats struct {
	// LogBytes is the size of the log since the last checkpoint.
	LogBytes int64
	// SnapshotBytes is the size of the last checkpoint.
	SnapshotBytes int64
	// Unsynced counts bytes that a power cut may lose.
	Unsynced int64
	// Trouble is why nothing is admitted; nil if all is well.
	Trouble error
}

// Stats says how the journal is.
func (j *Journal) Stats() Stats {
	j.io.Lock()
	defer j.io.Unlock()
	s := Stats{
		LogBytes:      j.logSize.Load() + j.part.size,
		SnapshotBytes: j.snapshot.Load(),
		Unsynced:      int64(j.end.Load() - j.synced.Load()),
	}
	if t := j.trouble.Load(); t != nil {
		s.Trouble = *t
	}
	return s
}
