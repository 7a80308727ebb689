package journal

import (
	"fmt"
	"time"
)

// Admit makes sure that n bytes of records can be written, whatever happens to the disk's free space meanwhile, and refuses with ErrRefused if
// not. Who was admitted calls Done with the same number when the records are noted, or will not be. It may have to write, so no lock may be held
// that Begin or a checkpoint needs.
func (j *Journal) Admit(n int64) error {
	if t := j.trouble.Load(); t != nil {
		return fmt.Errorf("%w: %w", ErrRefused, *t)
	}
	n += recordHead
	if promised := j.promised.Add(n); promised+int64(j.end.Load()-j.written.Load()) <= j.room.Load() {
		return nil
	}
	if err := j.makeRoom(); err != nil {
		j.promised.Add(-n)
		return err
	}
	return nil
}

// Done ends what Admit began.
func (j *Journal) Done(n int64) { j.promised.Add(-n - recordHead) }

// makeRoom writes what is pending, and sets more space aside if that is not enough for what is promised.
func (j *Journal) makeRoom() error {
	j.io.Lock()
	defer j.io.Unlock()
	if err := j.writeLocked(); err != nil {
		return err
	}
	need := j.promised.Load()
	if need <= j.room.Load() {
		return nil
	}
	// Half as much again: pieces have heads, and files have blocks.
	if err := j.reserve.grow(need + need/2); err != nil {
		return fmt.Errorf("%w: no room for %d bytes: %w", ErrRefused, need, err)
	}
	j.room.Store(j.reserve.size * 2 / 3)
	j.soon()
	return nil
}

// settle is what the journal does for itself, a second after something happened: it makes the disk have what was written, gets
// over a trouble that has passed, and begins a checkpoint when the log is long.
func (j *Journal) settle() {
	defer j.work.Done()
	for {
		select {
		case <-j.dirty:
		case <-j.closing:
			return
		}
		select {
		case <-time.After(j.options.Pause):
		case <-j.complete:
		case <-j.closing:
			return
		}
		// Errors are in j.trouble. What cannot be written does not keep the disk from getting what was.
		j.write()
		if j.options.Sync == SyncEachSecond || j.leftovers() {
			j.sync()
		}
		if j.trouble.Load() != nil || j.room.Load() > j.options.Reserve {
			j.recover()
		}
		if j.long() || j.distrust.Load() != nil {
			j.compactSoon()
		}
		if j.trouble.Load() != nil {
			j.soon()
		}
	}
}

// leftovers reports whether complete parts are still open.
func (j *Journal) leftovers() bool {
	j.io.Lock()
	defer j.io.Unlock()
	return len(j.retired) > 0
}

// recover writes what could not be written, and sets space aside again. If both work, writers are admitted again.
func (j *Journal) recover() {
	j.io.Lock()
	defer j.io.Unlock()
	if j.writeLocked() != nil {
		return
	}
	if err := j.reserve.set(max(j.options.Reserve, j.promised.Load()*3/2)); err != nil {
		return
	}
	j.room.Store(j.reserve.size * 2 / 3)
	if j.distrust.Load() == nil {
		j.trouble.Store(nil)
	}
}
