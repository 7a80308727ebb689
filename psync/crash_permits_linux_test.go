package psync_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/verify"
)

// A scene has processes work with an object while one of them, the victim, kills itself.
type scene struct {
	role string
	// set prepares the scene and starts the victim with v. It returns what has to
	// happen then, if anything, and how one sees that the others go on.
	set func(t *testing.T, v func(helper string, files []*os.File, args ...string) *reexec.Process) (then func(), goesOn func())
}

// TestCrashPointsOfPermits kills a process at every label of Semaphore and RWMutex, in
// every role. The others must go on at once, and what they find must be in order.
func TestCrashPointsOfPermits(t *testing.T) {
	bin := crashBinary(t)
	for _, what := range []struct {
		name   string
		labels []string
		scenes []scene
	}{
		{"Semaphore", labelsIn(t, "../internal/sema/*.go", "../internal/eventcount/*.go"), []scene{
			{"crowd", permitCrowd}, {"heir", permitHeir(true)}, {"successor", permitHeir(false)},
		}},
		{"RWMutex", labelsIn(t, "../internal/rwlock/*.go", "../internal/eventcount/*.go"), []scene{
			{"crowd", bookCrowd}, {"reader after a writer", bookHeir("lock", "0")}, {"writer after a writer", bookHeir("lock", "100")},
			{"writer after a reader", bookHeir("rlock", "100")},
		}},
	} {
		t.Run(what.name, func(t *testing.T) {
			if len(what.labels) < 7 {
				t.Fatalf("only %v", what.labels)
			}
			hit := map[string]bool{}
			var times []time.Duration
			kill := func(t *testing.T, sc scene, label string, pass int, chance time.Duration) {
				var victim *reexec.Process
				then, goesOn := sc.set(t, func(helper string, files []*os.File, args ...string) *reexec.Process {
					cmd := exec.Command(bin, args...)
					cmd.Env = append(os.Environ(), fmt.Sprintf("MULTIPROC_CRASH=%s:%d", label, pass))
					victim = reexec.StartCmd(t, cmd, helper, files)
					return victim
				})
				then()
				if died, ok := killsItself(t, victim, chance); ok {
					hit[label] = true
					goesOn()
					times = append(times, time.Since(died))
				} else {
					goesOn()
				}
			}
			for _, sc := range what.scenes {
				for _, label := range what.labels {
					for _, pass := range []int{1, 4} {
						t.Run(fmt.Sprintf("%s/%s:%d", sc.role, label, pass), func(t *testing.T) {
							kill(t, sc, label, pass, 150*time.Millisecond) // most labels are not for this scene
						})
					}
				}
			}
			// On a busy machine that is too short to come to every label that there is a way to.
			for _, label := range what.labels {
				for _, sc := range what.scenes {
					if !hit[label] {
						t.Run(fmt.Sprintf("%s/%s:1, with time", sc.role, label), func(t *testing.T) {
							kill(t, sc, label, 1, 5*time.Second)
						})
					}
				}
			}
			prompt(t, times)
			for _, l := range what.labels {
				if !hit[l] {
					t.Errorf("no process ever died at %s", l)
				}
			}
		})
	}
}

// killsItself waits until the victim has killed itself, or had its chance for so long; then it is
// told to end.
func killsItself(t *testing.T, p *reexec.Process, chance time.Duration) (died time.Time, ok bool) {
	t.Helper()
	out := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(p.Out)
		died = time.Now()
		p.Cmd.Wait()
		out <- string(b)
	}()
	var said string
	select {
	case said = <-out:
	case <-time.After(chance):
		p.In.Close()
		select {
		case said = <-out:
		case <-time.After(patience):
			t.Fatal("the victim neither dies nor ends")
		}
	}
	if said != "" {
		t.Errorf("the victim said %q", said)
	}
	ws := p.Cmd.ProcessState.Sys().(syscall.WaitStatus)
	return died, ws.Signaled() && ws.Signal() == syscall.SIGKILL
}

type starter = func(helper string, files []*os.File, args ...string) *reexec.Process

// permitCrowd: among others, who come and go.
func permitCrowd(t *testing.T, v starter) (then, goesOn func()) {
	const n = 2
	c := newCrowd(t, n)
	var ps []*reexec.Process
	for i := range 2 {
		ps = append(ps, c.start(t, i, n, 2))
	}
	c.word(1).Or(1 << 7)
	arg, files := reexec.Give(t, c)
	if l := v("crowd", files, arg, "7", "2", "2").Line(); l != "visiting" {
		t.Fatal(l)
	}
	return func() {}, func() {
		c.visited(t, 10)
		for _, p := range ps {
			p.Done()
		}
		c.check(t, n)
		permits(t, c.Semaphore, n)
	}
}

// permitHeir: waiting for the one permit of a process that dies, or that gives it back after
// some time.
func permitHeir(dies bool) func(t *testing.T, v starter) (then, goesOn func()) {
	return func(t *testing.T, v starter) (then, goesOn func()) {
		c := newCrowd(t, 1)
		holder := permitHelper(t, c.Semaphore)
		asked(t, holder, "acquire", "acquire <nil>")
		c.word(1).Or(1 << 7)
		arg, files := reexec.Give(t, c)
		if l := v("crowd", files, arg, "7", "1", "1").Line(); l != "visiting" {
			t.Fatal(l)
		}
		then = func() {
			// Long enough for the victim to lose its patience.
			time.Sleep(30 * time.Millisecond)
			if dies {
				holder.Kill()
				return
			}
			asked(t, holder, "release", "release <nil>")
		}
		return then, func() {
			verify.Must(t, c.visit(soon(t), 0, 1))
			c.check(t, 1)
			permits(t, c.Semaphore, 1)
		}
	}
}

// bookCrowd: among others who read and write.
func bookCrowd(t *testing.T, v starter) (then, goesOn func()) {
	l := newLibrary(t)
	var ps []*reexec.Process
	for range 2 {
		ps = append(ps, l.start(t, 30, 2))
	}
	arg, files := reexec.Give(t, l)
	if line := v("library", files, arg, "30", "2").Line(); line != "open" {
		t.Fatal(line)
	}
	return func() {}, func() {
		l.goesOn(t, 1, 1)
		for _, p := range ps {
			p.Done()
		}
		l.check(t)
	}
}

// bookHeir: waiting for a reader or a writer who dies. writes is how many of 100 times the
// victim writes.
func bookHeir(holds, writes string) func(t *testing.T, v starter) (then, goesOn func()) {
	return func(t *testing.T, v starter) (then, goesOn func()) {
		l := newLibrary(t)
		holder := rwHelper(t, l.Lock)
		asked(t, holder, holds, holds+" <nil>")
		arg, files := reexec.Give(t, l)
		if line := v("library", files, arg, writes, "1").Line(); line != "open" {
			t.Fatal(line)
		}
		then = func() {
			time.Sleep(10 * time.Millisecond) // it waits by now; if not, it is another case
			holder.Kill()
		}
		return then, func() {
			verify.Must(t, l.write(soon(t)))
			verify.Must(t, l.read(soon(t)))
			l.check(t)
		}
	}
}
