package seg_test

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/seg"
	"github.com/go-multiproc/multiproc/internal/verify"
)

// Signals that keep coming do not keep a large segment from being made: each of
// them makes fallocate give back all that it has taken.
func TestNewUnderSignals(t *testing.T) {
	done := make(chan error, 1)
	tid := make(chan int)
	go func() {
		runtime.LockOSThread()
		tid <- syscall.Gettid()
		h, err := seg.New(seg.Spec{Kind: "test", Data: 256 << 20})
		if err == nil {
			err = h.Close(nil)
		}
		done <- err
	}()
	thread, start := <-tid, time.Now()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		case <-time.After(5 * time.Millisecond):
			if time.Since(start) > 60*time.Second {
				t.Fatal("does not come to an end")
			}
			unix.Tgkill(os.Getpid(), thread, unix.SIGURG) // which Go's runtime ignores
		}
	}
}

// Errors leave neither descriptors nor files behind.
func TestCreateCleansUp(t *testing.T) {
	dir := shmDir(t)
	o := seg.Options{Dir: dir}
	h, err := seg.Create("taken", seg.Spec{Kind: "test", Data: 8}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(nil)
	before := countFDs(t)
	for range 10 {
		if _, err := seg.Create("taken", seg.Spec{Kind: "test", Data: 8}, o); err == nil {
			t.Fatal("made twice")
		}
		if _, err := seg.Create("huge", seg.Spec{Kind: "test", Data: 1 << 44}, o); err == nil {
			t.Fatal("made one of 16 TiB")
		}
	}
	if n := countFDs(t); n != before {
		t.Errorf("%d descriptors before, %d after", before, n)
	}
	if e, _ := os.ReadDir(dir); len(e) != 1 {
		t.Errorf("left behind: %v", e)
	}
}

// Reap waits for nobody and robs nobody: it leaves a file alone whose maker is
// not done with it, and takes it once he is dead.
func TestReapSparesWhatIsBeingMade(t *testing.T) {
	dir := shmDir(t)
	o := seg.Options{Dir: dir}
	// A file system without O_TMPFILE makes Create give its file a name at once.
	h, err := seg.Create("s", seg.Spec{Kind: "test", Data: 8}, o)
	if err != nil {
		t.Fatal(err)
	}
	h.Close(nil) // nobody holds a token: as before Create has taken one
	temp := dir + "/.multiproc-new.1.0"
	if err := os.Rename(dir+"/s", temp); err != nil {
		t.Fatal(err)
	}
	maker, err := unix.Open(temp, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	lk := unix.Flock_t{Type: unix.F_WRLCK, Start: 1<<61 - 1, Len: 1}
	if err := unix.FcntlFlock(uintptr(maker), unix.F_OFD_SETLK, &lk); err != nil {
		t.Fatal(err)
	}
	if all, err := seg.List(o); err != nil || len(all) != 0 {
		t.Errorf("listed before it is made: %v, %v", all, err)
	}
	if r, err := seg.Reap(o); err != nil || len(r) != 0 {
		t.Errorf("Reap: %v, %v", r, err)
	}
	if _, err := os.Stat(temp); err != nil {
		t.Fatalf("taken away from its maker: %v", err)
	}
	unix.Close(maker) // the maker dies
	if _, err := seg.Reap(o); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(temp); err == nil {
		t.Error("left by Reap")
	}
}

// rangeLock is what Reap takes: the lock over all tokens.
func rangeLock(t *testing.T, path string) (unlock func()) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	lk := unix.Flock_t{Type: unix.F_WRLCK, Start: 1 << 61, Len: 1 << 61}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &lk); err != nil {
		t.Fatal(err)
	}
	return func() { unix.Close(fd) }
}

// Who opens a segment that a Reap is looking at waits for that to end, and neither
// spins nor uses up tokens.
func TestOpenWaitsForReap(t *testing.T) {
	dir, h := named(t)
	before := h.Mapping().Token()
	h.Close(nil)
	unlock := rangeLock(t, dir+"/s")
	wait := verify.Blocks(t, "Open under a Reap", func() (err error) {
		h, err = seg.Open("s", "test", "", seg.Options{Dir: dir})
		return err
	})
	unlock()
	verify.Must(t, wait())
	if got := h.Mapping().Token(); got != before+1 {
		t.Errorf("token %d after %d", got, before)
	}
	h.Close(nil)
}

// Reap takes nothing from under somebody who opens it at the same time.
func TestReapRacesOpen(t *testing.T) {
	dir := shmDir(t)
	o := seg.Options{Dir: dir}
	var stop atomic.Bool
	var opened, reaped atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !stop.Load() {
				h, err := seg.Open("s", "test", "", o)
				if errors.Is(err, fs.ErrNotExist) {
					h, err = seg.Create("s", seg.Spec{Kind: "test", Data: 8}, o)
					if errors.Is(err, fs.ErrExist) {
						continue
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
				opened.Add(1)
				for range 3 {
					if _, err := os.Stat(dir + "/s"); err != nil {
						t.Errorf("while it is open: %v", err)
					}
				}
				h.Close(nil)
			}
		})
	}
	wg.Go(func() {
		for !stop.Load() {
			r, err := seg.Reap(o)
			if err != nil {
				t.Error(err)
			}
			reaped.Add(int64(len(r)))
		}
	})
	// Until they have met often enough; how soon that is depends on what else runs.
	time.Sleep(300 * time.Millisecond)
	for end := time.Now().Add(60 * time.Second); reaped.Load() < 10 && time.Now().Before(end) && !t.Failed(); {
		time.Sleep(10 * time.Millisecond)
	}
	stop.Store(true)
	wg.Wait()
	t.Logf("opened %d times, reaped %d times", opened.Load(), reaped.Load())
	if opened.Load() == 0 || reaped.Load() == 0 {
		t.Error("they never met")
	}
}
