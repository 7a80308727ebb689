package psync_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/shm"
)

func init() {
	helpers["holder"] = helperHolder
	helpers["force"] = func(args []string) int {
		fmt.Println(psync.ForceUnlock(args[0]))
		return 0
	}
}

// helperHolder locks the named Mutex, says so, and unlocks it when told to.
func helperHolder(args []string) int {
	mu, err := psync.OpenMutex(args[0])
	if err != nil {
		panic(err)
	}
	fmt.Println("open")
	if err := mu.Lock(context.Background()); err != nil {
		fmt.Println(err)
		return 0
	}
	fmt.Println("held", mu.Fence())
	reexec.WaitToBeTold()
	fmt.Println(mu.Unlock())
	fmt.Println(mu.Unlock())
	return 0
}

// An operator sees who holds a lock and who waits for it, and can take it away.
func TestInspectAndForce(t *testing.T) {
	name := fmt.Sprintf("inspected-%d", os.Getpid())
	mu, err := psync.CreateMutex(name)
	if err != nil {
		t.Fatal(err)
	}
	defer mu.Close()
	defer psync.Remove(name)

	status := func() (*shm.Status, shm.Part) {
		t.Helper()
		st, err := shm.Inspect(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(st.Parts) != 1 || st.Kind != "mutex" || st.Parts[0].What != "mutex" {
			t.Fatalf("%+v", st)
		}
		return st, st.Parts[0]
	}
	if st, p := status(); len(st.Users) != 1 || st.Users[0].PID != os.Getpid() || len(p.Holders) != 0 || len(p.Waiters) != 0 || p.Abandoned {
		t.Errorf("a fresh lock: %+v", st)
	}
	if err := psync.ForceUnlock(name); !errors.Is(err, psync.ErrNotHeld) {
		t.Errorf("a free lock by force: %v", err)
	}

	holder := reexec.Start(t, "holder", nil, name)
	holder.Line()
	if got := holder.Line(); got != "held 1" {
		t.Fatal(got)
	}
	waiter := reexec.Start(t, "holder", nil, name)
	waiter.Line()
	var p shm.Part
	var st *shm.Status
	begin := time.Now()
	for len(p.Waiters) == 0 || p.HeldFor < 10*time.Millisecond || p.WaitedFor < 10*time.Millisecond {
		if st, p = status(); time.Since(begin) > patience {
			t.Fatalf("nobody is seen waiting, or not for how long: %+v", st)
		}
		runtime.Gosched()
	}
	if most := time.Since(begin) + time.Second; p.HeldFor > most || p.WaitedFor > most {
		t.Errorf("held for %v, waited for for %v; that began only %v ago", p.HeldFor, p.WaitedFor, time.Since(begin))
	}
	if len(st.Users) != 3 {
		t.Errorf("%d users, want 3: %+v", len(st.Users), st.Users)
	}
	if len(p.Holders) != 1 || p.Holders[0].PID != holder.Cmd.Process.Pid || !p.Holders[0].Alive {
		t.Errorf("holders %+v, want %d", p.Holders, holder.Cmd.Process.Pid)
	}
	if len(p.Waiters) != 1 || p.Waiters[0].PID != waiter.Cmd.Process.Pid {
		t.Errorf("waiters %+v, want %d", p.Waiters, waiter.Cmd.Process.Pid)
	}

	if err := psync.ForceUnlock(name); err != nil {
		t.Fatal(err)
	}
	if got := waiter.Line(); got != psync.ErrOwnerDied.Error() {
		t.Errorf("the waiter got %q", got)
	}
	if err := mu.Lock(t.Context()); !errors.Is(err, psync.ErrOwnerDied) {
		t.Errorf("Lock after it: %v", err)
	}
	if _, p := status(); !p.Abandoned || len(p.Holders) != 0 {
		t.Errorf("after it: %+v", p)
	}
	if err := mu.LockOrRecover(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if f := mu.Fence(); f <= 1 {
		t.Errorf("the next hold has fence %d", f)
	}
	if _, p := status(); p.HeldFor != 0 || p.WaitedFor != 0 {
		t.Errorf("a new hold that nobody waits for: %+v", p)
	}
	holder.Say("unlock")
	if got := holder.Line(); got != psync.ErrLockLost.Error() {
		t.Errorf("the former holder's Unlock returned %q", got)
	}
	if got := holder.Line(); got != psync.ErrNotHeld.Error() {
		t.Errorf("the one after it %q", got)
	}
	if err := mu.Unlock(); err != nil {
		t.Errorf("the next holder's Unlock: %v", err)
	}
	holder.Done()
	waiter.Done()
}

// A holder that was killed is seen as dead until somebody comes by.
func TestInspectDeadHolder(t *testing.T) {
	name := fmt.Sprintf("inspected-dead-%d", os.Getpid())
	mu, err := psync.CreateMutex(name)
	if err != nil {
		t.Fatal(err)
	}
	defer mu.Close()
	defer psync.Remove(name)
	holder := reexec.Start(t, "holder", nil, name)
	holder.Line()
	holder.Line()
	holder.Kill()
	st, err := shm.Inspect(name)
	if err != nil {
		t.Fatal(err)
	}
	if h := st.Parts[0].Holders; len(h) != 1 || h[0].Alive || h[0].PID != 0 {
		t.Errorf("holders: %+v", h)
	}
}

func TestInspectWhatIsNotThere(t *testing.T) {
	if _, err := shm.Inspect("no-such-segment"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	name := fmt.Sprintf("inspected-segment-%d", os.Getpid())
	s, err := shm.Create(name, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	defer shm.Remove(name)
	st, err := shm.Inspect(name)
	if err != nil || len(st.Parts) != 0 || len(st.Users) != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	if err := psync.ForceUnlock(name); !errors.Is(err, fs.ErrInvalid) {
		t.Error(err)
	}
}

// An operator's program that is killed while it takes the lock away leaves it taken away or
// not, and nobody waiting for longer than a slice.
func TestCrashPointsOfForce(t *testing.T) {
	bin := crashBinary(t)
	for _, label := range []string{"force.noted", "force.taken"} {
		t.Run(label, func(t *testing.T) {
			name := fmt.Sprintf("forced-%d", os.Getpid())
			mu, err := psync.CreateMutex(name)
			if err != nil {
				t.Fatal(err)
			}
			defer mu.Close()
			defer psync.Remove(name)
			holder := reexec.Start(t, "holder", nil, name)
			holder.Line()
			holder.Line()
			waiter := reexec.Start(t, "holder", nil, name)
			waiter.Line()
			for begin := time.Now(); ; runtime.Gosched() {
				if st, err := shm.Inspect(name); err != nil || len(st.Parts[0].Waiters) == 1 {
					break
				}
				if time.Since(begin) > patience {
					t.Fatal("nobody is seen waiting")
				}
			}
			cmd := exec.Command(bin, name)
			cmd.Env = append(os.Environ(), "MULTIPROC_CRASH="+label+":1")
			v := reexec.StartCmd(t, cmd, "force", nil)
			io.Copy(io.Discard, v.Out)
			v.Cmd.Wait()
			if ws := v.Cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != syscall.SIGKILL {
				t.Fatalf("it did not die there: %v", ws)
			}
			died := time.Now()
			want, unlocked := "held 2", "<nil>"
			if label == "force.taken" {
				want, unlocked = psync.ErrOwnerDied.Error(), psync.ErrLockLost.Error()
				if got := waiter.Line(); got != want {
					t.Errorf("the waiter got %q, want %q", got, want)
				}
				t.Logf("the waiter heard of it after %v", time.Since(died))
			}
			holder.Say("unlock")
			if got := holder.Line(); got != unlocked {
				t.Errorf("the holder's Unlock: %q, want %q", got, unlocked)
			}
			if label == "force.noted" {
				if got := waiter.Line(); got != want {
					t.Errorf("the waiter got %q, want %q", got, want)
				}
				waiter.Say("unlock")
			}
		})
	}
}

// What shm.Inspect says of each kind, with this process for a holder.
func TestInspectKinds(t *testing.T) {
	ctx := t.Context()
	type closer interface{ Close() error }
	for kind, tt := range map[string]struct {
		make func(name string) (closer, error)
		want string // of each part: what, holds of this process, free/all
	}{
		"rmutex": {func(name string) (closer, error) {
			m, err := psync.CreateRMutex(name)
			if err == nil {
				_, err = m.Lock(ctx)
			}
			return m, err
		}, "mutex 1 0/0"},
		"rwmutex": {func(name string) (closer, error) {
			m, err := psync.CreateRWMutex(name)
			for range 3 {
				if err == nil {
					err = m.RLock(ctx)
				}
			}
			return m, err
		}, "writer 0 0/0, readers 3 0/0"},
		"semaphore": {func(name string) (closer, error) {
			m, err := psync.CreateSemaphore(name, 5)
			for range 2 {
				if err == nil {
					err = m.Acquire(ctx)
				}
			}
			return m, err
		}, "permits 2 3/5"},
		"barrier": {func(name string) (closer, error) { return psync.CreateBarrier(name, 3) }, "parties 0 3/3"},
		"event":   {func(name string) (closer, error) { return psync.CreateEvent(name) }, "event 0 0/0"},
		"once":    {func(name string) (closer, error) { return psync.CreateOnce(name) }, "runner 0 0/0"},
		"cond": {func(name string) (closer, error) {
			mu, err := psync.NewMutex()
			if err != nil {
				return nil, err
			}
			t.Cleanup(func() { mu.Close() })
			return psync.CreateCond(name, mu)
		}, "signal 0 0/0"},
	} {
		t.Run(kind, func(t *testing.T) {
			name := fmt.Sprintf("inspected-%s-%d", kind, os.Getpid())
			object, err := tt.make(name)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { psync.Remove(name) })
			st, err := shm.Inspect(name)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range st.Parts {
				n := 0
				for _, h := range p.Holders {
					if h.PID != os.Getpid() || !h.Alive {
						t.Errorf("holder %+v", h)
					}
					n += h.N
				}
				got = append(got, fmt.Sprintf("%s %d %d/%d", p.What, n, p.Free, p.All))
			}
			if s := strings.Join(got, ", "); s != tt.want || st.Kind != kind {
				t.Errorf("%s: %s, want %s", st.Kind, s, tt.want)
			}
			_ = object // which is closed by itself: what it holds keeps it from being closed here
			runtime.KeepAlive(object)
		})
	}
}

// Objects that stand in a caller's segment are found there.
func TestInspectPlaced(t *testing.T) {
	name := fmt.Sprintf("inspected-placed-%d", os.Getpid())
	s, err := shm.Create(name, 4096)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	defer shm.Remove(name)
	mu, err := psync.MutexAt(s, 128)
	if err != nil {
		t.Fatal(err)
	}
	defer mu.Close()
	sem, err := psync.SemaphoreAt(s, 512, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer sem.Close()
	if err := mu.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer mu.Unlock()
	st, err := shm.Inspect(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(st.Parts) != 2 || st.Parts[0].Offset != 128 || len(st.Parts[0].Holders) != 1 || st.Parts[1].Offset != 512 || st.Parts[1].Free != 4 {
		t.Errorf("%+v", st.Parts)
	}
}
