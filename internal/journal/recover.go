package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-multiproc/multiproc/internal/crash"
)

// A Load is given each record that Open finds, in order: first those of the snapshot, for which position is 0, then those of the log, with their place in
// the stream, which is what Journal.Position was when they ended. An error ends Open.
type Load func(r *Reader, position uint64) error

// Open opens the journal in a directory, which is made if it is missing, and loads what is there. What a kill or a power cut left half
// written at its end is cut off. Something that is missing further in front is ErrDamaged, and nothing is changed then.
func Open(dir string, o Options, load Load) (*Journal, error) {
	if o.Reserve <= 0 {
		o.Reserve = 8 << 20
	}
	if o.CompactSize <= 0 {
		o.CompactSize = 64 << 20
	}
	if o.Pause <= 0 {
		o.Pause = time.Second
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	j := &Journal{
		dir:      dir,
		options:  o,
		sizes:    map[uint64]int64{},
		dirty:    make(chan struct{}, 1),
		complete: make(chan struct{}, 1),
		closing:  make(chan struct{}),
	}
	j.w.owner = j
	written, staged, err := j.load(load)
	if err != nil {
		return nil, fmt.Errorf("journal: %s: %w", dir, err)
	}
	j.at, j.buf = written, staged
	j.written.Store(written)
	j.end.Store(written + uint64(len(staged)))
	j.acked.Store(j.end.Load())
	if j.reserve, err = openReserve(filepath.Join(dir, "reserve")); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	// A full disk is no reason not to open: what is there can be read.
	if err := j.reserve.set(o.Reserve); err != nil {
		j.refuse(err)
		j.reserve.release()
	}
	j.room.Store(j.reserve.size * 2 / 3)
	if err = j.newPartLocked(); err != nil && j.reserve.size > 0 { // which may have taken the last of the space
		j.refuse(err)
		j.reserve.release()
		j.room.Store(0)
		err = j.newPartLocked()
	}
	if err != nil {
		j.reserve.close()
		return nil, fmt.Errorf("journal: %w", err)
	}
	// What was staged is written before anything else is staged in its place. If that fails, it stays there.
	crash.At("journal.loaded")
	failed := j.write() != nil
	if o.Sync != SyncNever || len(staged) > 0 && !failed {
		if err := j.sync(); err != nil {
			j.part.close()
			j.reserve.close()
			return nil, err
		}
	}
	crash.At("journal.kept")
	switch {
	case failed:
	case o.Sync == SyncAlways: // which has no use for one
		os.Remove(filepath.Join(dir, stageName))
	default:
		j.stage = openStage(dir)
		j.resumeLocked() // nobody else has the journal yet
	}
	j.work.Add(1)
	go j.settle()
	j.soon()
	return j, nil
}

// load reads the newest snapshot, the log behind it, and what is staged behind that. It returns where the log ends, and what goes on there.
func (j *Journal) load(load Load) (written uint64, staged []byte, err error) {
	chains, err := readStage(j.dir)
	if err != nil {
		return 0, nil, err
	}
	entries, err := os.ReadDir(j.dir)
	if err != nil {
		return 0, nil, err
	}
	var parts []uint64
	snapshot := uint64(0)
	for _, e := range entries {
		if n, ok := numberOf(e.Name(), snapshotPrefix); ok {
			snapshot = max(snapshot, n)
		}
	}
	for _, e := range entries {
		if n, ok := numberOf(e.Name(), partPrefix); ok && n >= snapshot {
			parts = append(parts, n)
		}
	}
	slices.Sort(parts)
	if snapshot > 0 {
		if err := j.loadSnapshot(filepath.Join(j.dir, snapshotName(snapshot)), load); err != nil {
			return 0, nil, err
		}
		if len(parts) == 0 || parts[0] != snapshot {
			return 0, nil, fmt.Errorf("%w: %s, which goes on where %s ends, is missing", ErrDamaged, partName(snapshot), snapshotName(snapshot))
		}
	} else if len(parts) > 0 && parts[0] != 1 {
		return 0, nil, fmt.Errorf("%w: %s is missing", ErrDamaged, partName(1))
	}
	if err := j.mend(parts); err != nil {
		return 0, nil, err
	}
	a := assembler{load: load}
	for i, n := range parts {
		size, err := a.part(filepath.Join(j.dir, partName(n)))
		if err != nil {
			return 0, nil, err
		}
		if i == 0 && len(a.starts) == 0 && snapshot > 0 {
			return 0, nil, fmt.Errorf("%w: %s is empty", ErrDamaged, partName(n))
		}
		j.number = n
		j.sizes[n] = size
		j.logSize.Add(size)
	}
	written = a.at
	if staged, err = a.stage(chains); err != nil {
		return 0, nil, fmt.Errorf("%s: %w", stageName, err)
	}
	if a.synced > a.at {
		return 0, nil, lostSynced(a.at, a.synced)
	}
	removeBefore(j.dir, snapshot)
	return written, staged, nil
}

func lostSynced(at, synced uint64) error {
	return fmt.Errorf("%w: %d bytes of the log had been synced to the disk, and only %d of them are as they were written", ErrDamaged, synced, at)
}

// mend cuts what is not whole off the ends of parts, if that was not synced.
func (j *Journal) mend(parts []uint64) error {
	endings := make([]ending, len(parts))
	for i, n := range parts {
		if n != parts[0]+uint64(i) {
			return fmt.Errorf("%w: %s is missing", ErrDamaged, partName(n-1))
		}
		var err error
		if endings[i], err = inspect(filepath.Join(j.dir, partName(n))); err != nil {
			return err
		}
	}
	synced := uint64(0)
	for _, e := range endings {
		synced = max(synced, e.synced)
	}
	for i, e := range endings {
		// Where a write failed, the next part began with what the write was to write.
		goesOn := i+1 < len(endings) && endings[i+1].start > 0 && endings[i+1].start <= e.end
		if e.torn() && !goesOn && synced > e.end {
			return lostSynced(e.end, synced)
		}
	}
	for _, e := range endings {
		if err := e.cut(); err != nil {
			return err
		}
	}
	return nil
}

// loadSnapshot reads a snapshot, which must be complete.
func (j *Journal) loadSnapshot(dir string, load Load) error {
	e, err := inspect(dir)
	if err != nil {
		return err
	}
	if e.torn() {
		return fmt.Errorf("%w: %s is not as it was written", ErrDamaged, filepath.Base(dir))
	}
	complete := false
	a := assembler{load: func(r *Reader, _ uint64) error {
		if complete = !r.More(); complete {
			return nil
		}
		return load(r, 0)
	}}
	size, err := a.part(dir)
	if err != nil {
		return err
	}
	if !complete || len(a.buf) > 0 {
		return fmt.Errorf("%w: %s ends too early", ErrDamaged, filepath.Base(dir))
	}
	j.snapshot.Store(size)
	return nil
}

// An assembler makes records of pieces.
type assembler struct {
	load   Load
	at     uint64 // where buf begins in the stream: behind the last whole record
	buf    []byte
	synced uint64   // how far the stream was synced, according to any piece
	starts []uint64 // of the parts
	gap    bool     // something is missing; no more can be loaded
}

// part reads the pieces of a part.
func (a *assembler) part(dir string) (size int64, err error) {
	p, err := openPart(dir)
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrDamaged, filepath.Base(dir), err)
	}
	defer p.Close()
	end, err := p.LastIndex()
	if err != nil {
		return 0, err
	}
	if end == 0 { // it was made, and before it was written to came a kill or a power cut
		return 0, nil
	}
	b, err := p.Read(1)
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrDamaged, filepath.Base(dir), err)
	}
	start, err := readHead(b)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", filepath.Base(dir), err)
	}
	if a.starts = append(a.starts, start); len(a.starts) == 1 {
		a.at = start
	}
	a.begin(start)
	for i := uint64(2); i <= end; i++ {
		b, err := p.Read(i)
		if err != nil {
			return 0, fmt.Errorf("%w: %s: entry %d: %w", ErrDamaged, filepath.Base(dir), i, err)
		}
		at, synced, data, ok := readPiece(b)
		if !ok {
			a.gap = true
			continue
		}
		size += int64(len(b))
		a.synced = max(a.synced, synced)
		if err := a.piece(at, data); err != nil {
			return 0, fmt.Errorf("%s: entry %d: %w", filepath.Base(dir), i, err)
		}
	}
	return size, nil
}

// begin goes on with a part that begins there. What stands behind that so far is half a record that was cut off when the part was begun,
// or what the part says again.
func (a *assembler) begin(start uint64) {
	switch keep := start - a.at; {
	case start < a.at:
		a.buf = nil
	case keep < uint64(len(a.buf)):
		a.buf = a.buf[:keep]
	}
	// Where a power cut took something away, the parts behind it are of no use, up to that which was begun in its place.
	a.gap = start > a.at+uint64(len(a.buf))
}

// stage adds what goes on in the stage where the log ends, and returns it.
func (a *assembler) stage(chains []chain) (staged []byte, err error) {
	a.begin(a.at)
	from := a.at
	for _, c := range chains {
		for _, e := range c {
			end := e.at + uint64(len(e.data))
			if e.at > a.at || len(a.buf) > 0 {
				break // a power cut took away what was before it
			}
			if end <= a.at {
				continue // it was written
			}
			data := e.data[a.at-e.at:]
			if err := a.piece(a.at, data); err != nil {
				return nil, err
			}
			staged = append(staged, data[:min(uint64(len(data)), a.at-from-uint64(len(staged)))]...)
		}
	}
	return staged, nil
}

// piece adds a piece of the stream, and loads the records that it completes.
func (a *assembler) piece(at uint64, data []byte) error {
	have := a.at + uint64(len(a.buf))
	if at > have {
		a.gap = true
	}
	if a.gap || at+uint64(len(data)) <= have {
		return nil
	}
	data = data[have-at:]
	b := data
	if len(a.buf) > 0 {
		a.buf = append(a.buf, data...)
		b = a.buf
	}
	for len(b) >= recordHead {
		n := uint64(binary.BigEndian.Uint32(b))
		if uint64(len(b)-recordHead) < n {
			break
		}
		a.at += recordHead + n
		r := Reader{b: b[recordHead : recordHead+n]}
		if err := errors.Join(a.load(&r, a.at), r.err); err != nil {
			return err
		}
		b = b[recordHead+n:]
	}
	if len(b) < len(a.buf) || len(a.buf) == 0 { // else it is one long record that goes on
		a.buf = append(a.buf[:0:0], b...)
	}
	return nil
}
