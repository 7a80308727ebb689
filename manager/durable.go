package manager

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-multiproc/multiproc/internal/journal"
	"github.com/go-multiproc/multiproc/internal/store"
	"github.com/go-multiproc/multiproc/psync"
)

// Sync says when a server with an Options.Path makes the disk have what it was told. A call that has returned is with the kernel in any
// case, so a server that is killed loses nothing: its record was written, with write(2) or into a mapped file, before the call was answered. What a power cut, or a crash of the
// operating system, may take away is what the disk did not have yet. It never takes something away and leaves what came after it.
//
// When the disk reports that it could not sync, what it has is not known. Then calls that would change something are refused with [ErrJournal] and the cause, while those that
// read go on. With SyncAlways, where nobody is told what was not synced, every connection ends at its next call ([ErrDown], with the cause). It lasts until everything could be
// written anew, which is tried every ten seconds.
type Sync int

const (
	// SyncEachSecond syncs within a second or so. A power cut takes away at most what was done in that time before.
	SyncEachSecond Sync = iota

	// SyncAlways syncs before a call returns. A power cut takes nothing away. A call takes as long as the disk takes to sync; calls that
	// come meanwhile share the next sync.
	SyncAlways

	// SyncNever leaves it to the operating system. On Linux a power cut takes away about half a minute.
	SyncNever
)

// pathTime is how long a server waits for another one to let go of Options.Path: one that was killed is still ending.
const pathTime = 5 * time.Second

// tuning is what only tests change, so that what takes its time happens all the time.
type tuning struct {
	CompactSize int64
	Pause       time.Duration
	Reserve     int64
}

var tuned tuning

// openStore makes the store that the options ask for. release is to be called when it is closed.
func openStore(o Options, tuned tuning) (st *store.Store, release func(), err error) {
	so := store.Options{Limits: store.Limits{Objects: int64(o.MaxObjects), Entries: int64(o.MaxEntries), Bytes: o.MaxMemory}}
	if o.Path == "" {
		return store.New(so), func() {}, nil
	}
	jo := journal.Options{CompactSize: tuned.CompactSize, Pause: tuned.Pause, Reserve: tuned.Reserve}
	switch o.Sync {
	case SyncEachSecond:
	case SyncAlways:
		jo.Sync = journal.SyncAlways
	case SyncNever:
		jo.Sync = journal.SyncNever
	default:
		return nil, nil, fmt.Errorf("manager: Options.Sync is %d, which is none of its values", o.Sync)
	}
	if err := os.MkdirAll(o.Path, 0o700); err != nil {
		return nil, nil, fmt.Errorf("manager: Options.Path: %w", err)
	}
	release, err = lockPath(o.Path)
	if err != nil {
		return nil, nil, err
	}
	if st, err = store.Open(so, filepath.Join(o.Path, "journal"), jo); err != nil {
		release()
		return nil, nil, fmt.Errorf("manager: Options.Path: %w", err)
	}
	return st, release, nil
}

// lockPath makes this server the only one with that path.
func lockPath(path string) (release func(), err error) {
	name := filepath.Join(path, "lock")
	l, err := psync.NewFileLock(name)
	if err != nil {
		return nil, fmt.Errorf("manager: Options.Path: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), pathTime)
	defer cancel()
	if err := l.Lock(ctx); err != nil {
		l.Close()
		if errors.Is(err, context.DeadlineExceeded) {
			by, _ := os.ReadFile(name)
			return nil, fmt.Errorf("manager: Options.Path: %s is in use by another server (%s): Connect to that one, or shut it down", path, strings.TrimSpace(string(by)))
		}
		return nil, fmt.Errorf("manager: Options.Path: %w", err)
	}
	// For the error of the one who comes too late. If it cannot be written, that one learns less.
	os.WriteFile(name, fmt.Appendf(nil, "process %d, %s\n", os.Getpid(), processName()), 0o600)
	return func() {
		l.Unlock()
		l.Close()
	}, nil
}
