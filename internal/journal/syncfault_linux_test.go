package journal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/journal"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/syncfault"
)

func TestMain(m *testing.M) {
	reexec.Main(m, map[string]reexec.Helper{"sync fails": syncFails, "noting": noting, "syncing": syncing})
}

// What a disk that fails to sync does to a journal. Each case runs in a process of its own, in which fsync(2) fails when it is told to.
func TestSyncFails(t *testing.T) {
	for name := range syncFailures {
		t.Run(name, func(t *testing.T) {
			if line := reexec.Start(t, "sync fails", nil, name, t.TempDir()).Line(); line != "well" {
				t.Error(line)
			}
		})
	}
}

var syncFailures = map[string]func(dir string, faults *syncfault.Faults) error{
	"nothing is promised by a second fsync": notByASecondFsync,
	"nothing says that it was synced":       nothingClaimsToBeSynced,
	"a checkpoint ends it":                  checkpointEndsIt,
	"beside a checkpoint":                   besideACheckpoint,
}

func syncFails(args []string) int {
	faults, err := syncfault.Install()
	if err == nil {
		err = syncFailures[args[0]](args[1], faults)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("well")
	return 0
}

// The kernel complains once of what it could not write, and a second fsync finds nothing to write. With SyncAlways Flush must not
// take that for an answer.
func notByASecondFsync(dir string, faults *syncfault.Faults) error {
	j, _, err := tryOpen(dir, journal.Options{Sync: journal.SyncAlways})
	if err != nil {
		return err
	}
	note(j, "synced")
	if err := j.Flush(); err != nil {
		return err
	}
	faults.Fail(syscall.EIO)
	note(j, "not synced")
	for i := range 3 {
		if err := j.Flush(); !errors.Is(err, journal.ErrRefused) || !errors.Is(err, syscall.EIO) {
			return fmt.Errorf("Flush number %d after the disk failed returned %w", i, err)
		}
		faults.Fail(0)
	}
	if err := j.Admit(1); !errors.Is(err, journal.ErrRefused) || !errors.Is(err, syscall.EIO) {
		return fmt.Errorf("Admit returned %w", err)
	}
	if s := j.Stats(); s.Unsynced == 0 || !errors.Is(s.Trouble, syscall.EIO) {
		return fmt.Errorf("%d bytes are said to be not synced, and the trouble to be %w", s.Unsynced, s.Trouble)
	}
	if err := j.Close(); !errors.Is(err, syscall.EIO) {
		return fmt.Errorf("Close returned %w", err)
	}
	j, found, err := tryOpen(dir, journal.Options{})
	if err != nil || len(found) != 2 { // it was written, and there was no power cut
		return fmt.Errorf("found %q: %w", found, err)
	}
	return j.Close()
}

// Later pieces must not say that the disk has what it may not have: after a power cut the reader would take for damage what is just missing at
// the end.
func nothingClaimsToBeSynced(dir string, faults *syncfault.Faults) error {
	tried, goOn := make(chan struct{}), make(chan struct{})
	j, err := journal.Open(dir, journal.Options{
		Pause: time.Millisecond,
		Compact: func(*journal.Checkpoint) error {
			select {
			case tried <- struct{}{}:
				<-goOn
			case <-goOn: // closed: nobody asks any more
			}
			return errors.New("no room")
		},
	}, func(*journal.Reader, uint64) error { return nil })
	if err != nil {
		return err
	}
	note(j, "synced")
	if err := j.Flush(); err != nil {
		return err
	}
	for j.Stats().Unsynced > 0 {
		time.Sleep(time.Millisecond)
	}
	names, err := filepath.Glob(filepath.Join(dir, "log-*", strings.Repeat("[0-9]", 20)))
	if err != nil || len(names) != 1 {
		return fmt.Errorf("the log has the files %q: %w", names, err)
	}
	info, err := os.Stat(names[0])
	if err != nil {
		return err
	}
	synced := info.Size()
	faults.Fail(syscall.EIO)
	note(j, "lost")
	if err := j.Flush(); err != nil { // it is with the kernel
		return err
	}
	for i := range 4 { // each time, a look at the disk comes before
		<-tried
		faults.Fail(0)
		note(j, "later")
		if err := j.Flush(); err != nil {
			return err
		}
		if s := j.Stats(); s.Unsynced == 0 {
			return fmt.Errorf("after %d checkpoints that failed nothing is said to be not synced", i+1)
		}
		goOn <- struct{}{}
	}
	<-tried // nothing is written while this one waits
	// A power cut takes away what the disk did not get, and what came after it in that file; what came in later files may be there.
	at := dir + " after the power cut"
	if err := os.CopyFS(at, os.DirFS(dir)); err != nil {
		return err
	}
	rel, _ := filepath.Rel(dir, names[0])
	if err := os.Truncate(filepath.Join(at, rel), synced); err != nil {
		return err
	}
	close(goOn)
	again, found, err := tryOpen(at, journal.Options{})
	if err != nil {
		return err
	}
	if len(found) != 1 || found[0] != "synced" {
		return fmt.Errorf("found %q", found)
	}
	return errors.Join(again.Close(), expect(j.Close(), syscall.EIO))
}

func expect(err, want error) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("%v in the place of %w", err, want)
	}
	return nil
}

// When the disk works again, a checkpoint writes everything anew, and all is well.
func checkpointEndsIt(dir string, faults *syncfault.Faults) error {
	for _, sync := range []journal.Sync{journal.SyncEachSecond, journal.SyncAlways} {
		dir := filepath.Join(dir, fmt.Sprint(sync))
		m, err := loadModel(dir, journal.Options{Sync: sync, Pause: time.Millisecond})
		if err != nil {
			return err
		}
		m.add("key", 1)
		if err := m.j.Flush(); err != nil {
			return err
		}
		before := faults.Failed()
		faults.Fail(syscall.EIO)
		m.add("key", 10)
		if err := m.j.Flush(); err != nil && sync == journal.SyncEachSecond {
			return fmt.Errorf("what was written was not acknowledged: %w", err)
		}
		for faults.Failed() < before+3 || m.j.Admit(1) == nil {
			time.Sleep(time.Millisecond)
		}
		if err := m.j.Compact(); !errors.Is(err, syscall.EIO) {
			return fmt.Errorf("a checkpoint that cannot be synced returned %w", err)
		}
		faults.Fail(0)
		for began := time.Now(); m.j.Admit(1) != nil; time.Sleep(time.Millisecond) {
			if time.Since(began) > 20*time.Second {
				return fmt.Errorf("still not admitted: %w", m.j.Stats().Trouble)
			}
		}
		m.j.Done(1)
		m.add("key", 100)
		if err := m.j.Flush(); err != nil {
			return err
		}
		if s := m.j.Stats(); s.SnapshotBytes == 0 {
			return errors.New("it was got over without a checkpoint")
		}
		if err := m.j.Close(); err != nil {
			return err
		}
		again, err := loadModel(dir, journal.Options{})
		if err != nil {
			return err
		}
		if n := again.values["key"]; n != 111 {
			return fmt.Errorf("found %d", n)
		}
		if err := again.j.Close(); err != nil {
			return err
		}
	}
	return nil
}

// A checkpoint during which the log fails to sync, be it just once, does not replace anything: it speaks of what the log behind it may have lost.
func besideACheckpoint(dir string, faults *syncfault.Faults) error {
	var j *journal.Journal
	calls := 0
	o := journal.Options{Sync: journal.SyncAlways, Pause: time.Hour}
	o.Compact = func(c *journal.Checkpoint) error {
		if calls++; calls == 1 {
			faults.Fail(syscall.EIO)
			note(j, "beside")
			if err := j.Flush(); !errors.Is(err, syscall.EIO) {
				return fmt.Errorf("Flush returned %w", err)
			}
			faults.Fail(0)
		}
		return c.Err()
	}
	j, _, err := tryOpen(dir, o)
	if err != nil {
		return err
	}
	if err := j.Compact(); !errors.Is(err, syscall.EIO) {
		return fmt.Errorf("the checkpoint returned %w", err)
	}
	if s := j.Stats(); s.SnapshotBytes > 0 {
		return errors.New("the checkpoint counts")
	}
	if err := j.Flush(); !errors.Is(err, syscall.EIO) {
		return fmt.Errorf("Flush returned %w after it", err)
	}
	if err := j.Compact(); err != nil {
		return fmt.Errorf("the next checkpoint: %w", err)
	}
	if err := j.Flush(); err != nil {
		return err
	}
	return j.Close()
}
