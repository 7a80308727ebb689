package psync_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/detector"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/psync"
)

// recovery is how soon after a death the others must be able to go on, where nothing else wants
// the CPUs. The median is held to it: a machine that is busy, or that gives us its CPUs for a part of the
// time only, can delay many cases by as much as it likes. Where there are some dozens, nine in ten
// are held to stuckFor; patience bounds each.
const (
	recovery = 100 * time.Millisecond
	stuckFor = time.Second
)

// prompt checks the times that the others needed.
func prompt(t *testing.T, times []time.Duration) {
	t.Helper()
	slices.Sort(times)
	median, worst := times[len(times)/2], times[len(times)-1]
	busy := reexec.Busy(t)
	t.Logf("%d deaths; the others went on after %v (median), %v (worst); to start a process takes %v", len(times), median, worst, busy)
	if median > recovery+4*busy {
		t.Errorf("the others went on after %v only, while to start a process takes %v", median, busy)
	}
	if p90 := times[len(times)*9/10]; len(times) >= 20 && p90 > stuckFor+4*busy {
		t.Errorf("one in ten times the others went on after %v only", p90)
	}
}

// crashLabels are the labels in the lock's source.
func crashLabels(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../internal/lock/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no source of the lock: ", err)
	}
	var labels []string
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`crash\.At\("([^"]+)"\)`).FindAllSubmatch(src, -1) {
			if !bytes.HasPrefix(m[1], []byte("force.")) { // an operator's: see TestCrashPointsOfForce
				labels = append(labels, string(m[1]))
			}
		}
	}
	slices.Sort(labels)
	return slices.Compact(labels)
}

// crashBinary is this test binary, built with crash points.
func crashBinary(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "psync.test")
	out, err := exec.Command("go", "test", "-c", "-tags", "multiproc_crash", "-o", bin, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return bin
}

// A process is killed at every label: alone with the lock of a holder that died
// while it waited, and in a crowd that fights for it. Each time the others must
// be able to go on at once, with nobody ever inside together with somebody else.
func TestCrashPoints(t *testing.T) {
	bin := crashBinary(t)
	labels := crashLabels(t)
	if len(labels) < 6 {
		t.Fatalf("only %v", labels)
	}
	victim := func(t *testing.T, s *shared, label string, pass int) *reexec.Process {
		cmd := exec.Command(bin)
		cmd.Env = append(os.Environ(), fmt.Sprintf("MULTIPROC_CRASH=%s:%d", label, pass))
		return reexec.StartCmd(t, cmd, "fight", s.file(t))
	}
	// dies waits for the victim to kill itself.
	dies := func(p *reexec.Process) bool {
		done := make(chan struct{})
		go func() {
			io.Copy(io.Discard, p.Out)
			p.Cmd.Wait()
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(3 * time.Second):
			p.Cmd.Process.Kill()
			<-done
			return false
		}
		ws := p.Cmd.ProcessState.Sys().(syscall.WaitStatus)
		return ws.Signaled() && ws.Signal() == syscall.SIGKILL
	}
	hit := map[string]bool{}
	var times []time.Duration
	for _, label := range labels {
		t.Run("alone/"+label, func(t *testing.T) {
			s := newShared(t)
			holder := held(t, s)
			v := victim(t, s, label, 1)
			if v.Line() != "fighting" {
				t.Fatal("the victim does not start")
			}
			holder.Kill()
			if !dies(v) {
				return
			}
			hit[label] = true
			times = append(times, goesOn(t, s))
		})
		for _, pass := range []int{1, 2, 7} {
			t.Run(fmt.Sprintf("crowd/%s:%d", label, pass), func(t *testing.T) {
				s := newShared(t)
				crowd := []*reexec.Process{
					reexec.Start(t, "fight", s.file(t)),
					reexec.Start(t, "fight", s.file(t)),
				}
				for _, p := range crowd {
					p.Line()
				}
				v := victim(t, s, label, pass)
				v.Line()
				switch label {
				case "lock.buried", "lock.repairing", "lock.repaired":
					// Somebody else may be quicker to find a death: only the
					// first case makes sure of these.
					v.Say("")
					v.Done()
				default:
					if dies(v) {
						hit[label] = true
					} else {
						t.Error("never reached")
					}
				}
				times = append(times, goesOn(t, s))
				for _, p := range crowd {
					p.Say("")
					if out, _ := io.ReadAll(p.Out); len(out) > 0 {
						t.Errorf("%s", out)
					}
					p.Done()
				}
			})
		}
	}
	prompt(t, times)
	for _, l := range labels {
		if !hit[l] {
			t.Errorf("no process ever died at %s", l)
		}
	}
}

// goesOn takes the lock, and returns how long that took.
func goesOn(t *testing.T, s *shared) time.Duration {
	t.Helper()
	start := time.Now()
	if err := s.once(soon(t)); err != nil {
		t.Errorf("after the death: %v", err)
	}
	return time.Since(start)
}

// Six processes fight for the lock while one after the other is killed at random
// moments.
func TestKillStorm(t *testing.T) {
	kills := 1000
	if testing.Short() || detector.Enabled {
		kills = 150
	}
	const fighters = 6
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))

	s := newShared(t)
	files := s.file(t)
	ps := make([]*reexec.Process, fighters)
	start := func(i int) {
		ps[i] = reexec.Start(t, "fight", files)
		if l := ps[i].Line(); l != "fighting" {
			t.Fatal(l)
		}
	}
	for i := range ps {
		start(i)
	}
	var times []time.Duration
	for range kills {
		i := rnd.IntN(fighters)
		time.Sleep(time.Duration(rnd.IntN(2000)) * time.Microsecond) // the random moment
		p := ps[i]
		p.Cmd.Process.Kill()
		died := time.Now()
		for before := atomic.LoadUint64(s.count); atomic.LoadUint64(s.count) == before; {
			time.Sleep(100 * time.Microsecond) // the resolution of the figures
			if time.Since(died) > patience {
				t.Fatalf("seed %d: nobody goes on", seed)
			}
		}
		times = append(times, time.Since(died))
		if err := s.once(soon(t)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if out, _ := io.ReadAll(p.Out); len(out) > 0 {
			t.Fatalf("seed %d: %s", seed, out)
		}
		p.Cmd.Wait()
		start(i)
	}
	for _, p := range ps {
		p.Say("")
		if out, _ := io.ReadAll(p.Out); strings.Contains(string(out), "violation") {
			t.Errorf("seed %d: %s", seed, out)
		}
		p.Done()
	}
	t.Logf("%d holds", *s.count)
	prompt(t, times)
	// Whatever is left is in order.
	if err := s.Recover(t.Context(), s.repair); err != nil && !errors.Is(err, psync.ErrOwnerDied) {
		t.Error(err)
	}
}
