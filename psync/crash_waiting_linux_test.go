package psync_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
)

// labelsIn are the crash points in the source files that the patterns name.
func labelsIn(t *testing.T, patterns ...string) []string {
	t.Helper()
	var labels []string
	for _, p := range patterns {
		files, err := filepath.Glob(p)
		if err != nil || len(files) == 0 {
			t.Fatalf("no source at %s: %v", p, err)
		}
		for _, f := range files {
			src, err := os.ReadFile(f)
			verify.Must(t, err)
			for _, m := range regexp.MustCompile(`crash\.At\("([^"]+)"\)`).FindAllSubmatch(src, -1) {
				labels = append(labels, string(m[1]))
			}
		}
	}
	slices.Sort(labels)
	return slices.Compact(labels)
}

// A mortal is a puppet that kills itself at a label.
type mortal struct {
	*puppet
	done chan struct{} // closed when it did what it was told
	dead chan struct{} // closed when it is
	died time.Time
	self bool // by its own hand
}

func mortalCommand(bin, label string, pass int) *exec.Cmd {
	cmd := exec.Command(bin)
	cmd.Env = append(os.Environ(), fmt.Sprintf("MULTIPROC_CRASH=%s:%d", label, pass))
	return cmd
}

func newMortal(t *testing.T, bin, label string, pass int, g gifts) *mortal {
	t.Helper()
	return &mortal{puppet: puppetOf(t, mortalCommand(bin, label, pass), g), done: make(chan struct{}), dead: make(chan struct{})}
}

// act has the mortal do something, in the course of which it may die.
func (m *mortal) act(line string) {
	m.must("go "+line, "begun")
	go m.follow()
}

// waits is act, which returns when the mortal has come to wait, or has died on its way there.
func (m *mortal) waits(line string) {
	m.Say("wait " + line)
	waiting := make(chan struct{})
	go func() {
		if l, err := m.Out.ReadString('\n'); err == nil && l == "waiting true\n" {
			close(waiting)
		}
		m.follow()
	}()
	select {
	case <-waiting:
	case <-m.dead:
	case <-time.After(patience):
		m.t.Fatal("the mortal neither dies nor waits")
	}
}

// follow reads what the mortal says of its act, to the end.
func (m *mortal) follow() {
	if _, err := m.Out.ReadString('\n'); err == nil {
		close(m.done)
	}
	io.Copy(io.Discard, m.Out)
	m.died = time.Now()
	m.Cmd.Wait()
	ws := m.Cmd.ProcessState.Sys().(syscall.WaitStatus)
	m.self = ws.Signaled() && ws.Signal() == syscall.SIGKILL
	close(m.dead)
}

// gone waits until the mortal is dead. If it has come to the end of its act, it is killed. It
// reports whether it died by itself, and when.
func (m *mortal) gone() (self bool, died time.Time) {
	select {
	case <-m.dead:
		return m.self, m.died
	case <-m.done:
	case <-time.After(patience):
		m.t.Error("the mortal neither dies nor ends")
	}
	return false, m.kill()
}

func (m *mortal) kill() (died time.Time) {
	m.Cmd.Process.Kill()
	<-m.dead
	return m.died
}

// A tragedy is a role in which a process dies, with those who have to go on.
type tragedy struct {
	role string
	// play has the mortal die in its role and checks the others. It returns how long they
	// needed to go on; hit is false if the mortal did not die by itself.
	play func(t *testing.T, bin, label string, pass int) (needed time.Duration, hit bool)
}

// A process is killed at every label of what waits, in every role. Each time the others must
// go on at once, and nothing that was promised may be lost.
func TestCrashPointsOfWaiting(t *testing.T) {
	bin := crashBinary(t)
	count := labelsIn(t, "../internal/eventcount/*.go")
	for _, what := range []struct {
		name      string
		labels    []string
		tragedies []tragedy
	}{
		{"barrier", append(labelsIn(t, "../internal/barrier/*.go"), count...), []tragedy{
			{"party", barrierParty}, {"aborter", barrierChanger("abort")}, {"resetter", barrierChanger("reset")},
			{"quitter", barrierQuitter}, {"mourner", barrierMourner}, {"last one", barrierLast},
		}},
		{"cond", append(labelsIn(t, "../internal/cond/*.go"), count...), []tragedy{
			{"waiter", condWaiter}, {"signaller", condTeller("signal")}, {"broadcaster", condTeller("broadcast")},
			{"mourner", condMourner}, {"opener", condOpener},
		}},
		{"event", append(labelsIn(t, "event.go"), count...), []tragedy{{"setter", eventSetter}, {"waiter", eventWaiter}}},
		{"once", labelsIn(t, "once.go"), []tragedy{{"runner", onceRunner}}},
	} {
		t.Run(what.name, func(t *testing.T) {
			if len(what.labels) == 0 {
				t.Fatal("no labels")
			}
			hit := map[string]bool{}
			var times []time.Duration
			for _, tr := range what.tragedies {
				for _, label := range what.labels {
					for _, pass := range []int{1, 3} {
						t.Run(fmt.Sprintf("%s/%s:%d", tr.role, label, pass), func(t *testing.T) {
							needed, died := tr.play(t, bin, label, pass)
							if died {
								hit[label] = true
								times = append(times, needed)
							}
						})
						if !hit[label] {
							break // not in this role: then not the third time either
						}
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

// mend takes the lock, also when somebody died with it.
func mend(ctx context.Context, m *psync.Mutex) error { return m.LockOrRecover(ctx, nil) }

// barrierParty dies among the parties of rounds that follow on each other.
func barrierParty(t *testing.T, bin, label string, pass int) (time.Duration, bool) {
	const rounds = 40
	b, w := newBarrier(t, 3), newSegment(t, 8*rounds)
	g := gifts{Barrier: b, Words: w}
	v, other := newMortal(t, bin, label, pass, g), newPuppet(t, g)
	line := fmt.Sprintf("barrier rounds 60000 %d 3", rounds)
	other.begins(line)
	v.act(line)
	err := g.rounds(soon(t), rounds, 3)
	ended := time.Now()
	l := other.answer()
	hit, died := v.gone()
	if !hit {
		if err != nil || l != "<nil>" {
			t.Errorf("nobody died: %v; %s", err, l)
		}
		return 0, false
	}
	if passed := words(w.Bytes())[rounds-1]; err == nil && l == "<nil>" && bits.OnesCount64(passed) == 2 {
		// It had come to the last round, which nobody waits in any more: a busy machine can keep it from sleeping earlier.
		t.Log("died in the last round, which was complete")
	} else {
		broken(t, err, becauseLost)
		if !b.Broken() {
			t.Error("not broken")
		}
	}
	verify.Must(t, b.Reset())
	other.begins("barrier wait")
	third := newPuppet(t, g)
	third.begins("barrier wait")
	if _, err := b.Wait(soon(t)); err != nil {
		t.Errorf("after Reset: %v", err)
	}
	return ended.Sub(died), hit
}

// barrierChanger dies in Abort, or in Reset, while others wait.
func barrierChanger(how string) func(t *testing.T, bin, label string, pass int) (time.Duration, bool) {
	return func(t *testing.T, bin, label string, pass int) (time.Duration, bool) {
		b := newBarrier(t, 3)
		v := newMortal(t, bin, label, pass, gifts{Barrier: b})
		for i := 1; i < pass; i++ {
			v.must("barrier "+how, "<nil>")
			verify.Must(t, b.Reset())
		}
		wait := waits(t, b, context.Background())
		v.act("barrier " + how)
		hit, died := v.gone()
		if !hit {
			verify.Must(t, b.Abort())
		}
		err := wait()
		needed := time.Since(died)
		broken(t, err, "")
		return needed, hit
	}
}

// barrierQuitter dies when it breaks the barrier because it does not want to wait any more.
func barrierQuitter(t *testing.T, bin, label string, pass int) (time.Duration, bool) {
	if pass > 1 {
		return 0, false
	}
	b := newBarrier(t, 3)
	v := newMortal(t, bin, label, pass, gifts{Barrier: b})
	wait := waits(t, b, context.Background())
	v.act("barrier wait 30")
	hit, died := v.gone()
	err := wait()
	needed := time.Since(died)
	broken(t, err, "")
	return needed, hit
}

// barrierMourner dies when it finds that somebody else died.
func barrierMourner(t *testing.T, bin, label string, pass int) (time.Duration, bool) {
	if label != "barrier.broken" || pass > 1 {
		return 0, false
	}
	b := newBarrier(t, 2)
	v, first := newMortal(t, bin, label, pass, gifts{Barrier: b}), newPuppet(t, gifts{Barrier: b})
	first.begins("barrier wait")
	waiting(t, b, 1)
	v.must("barrier wait", "1 <nil>")
	first.answer()
	v.act("barrier wait")
	waiting(t, b, 1)
	first.Kill()
	hit, died := v.gone()
	// Whoever comes now finds it broken, or breaks it: both are dead.
	_, err := b.Wait(soon(t))
	needed := time.Since(died)
	broken(t, err, becauseLost)
	return needed, hit
}

// barrierLast dies when it has come as the last: the round is complete then, whoever says so. Among parties that follow on
// each other it may happen that one of them is never the last, where they share a CPU.
func barrierLast(t *testing.T, bin, label string, pass int) (time.Duration, bool) {
	if label != "barrier.arrived" && label != "barrier.completed" || pass > 1 {
		return 0, false
	}
	b := newBarrier(t, 2)
	v := newMortal(t, bin, label, pass, gifts{Barrier: b})
	type end struct {
		err error
		at  time.Time
	}
	passed := make(chan end, 1)
	ctx := soon(t)
	go func() {
		_, err := b.Wait(ctx)
		passed <- end{err, time.Now()}
	}()
	waiting(t, b, 1)
	v.act("barrier wait")
	hit, died := v.gone()
	e := <-passed
	if e.err != nil || b.Broken() {
		t.Errorf("Wait in a round to which all have come: %v; broken: %v", e.err, b.Broken())
	}
	return e.at.Sub(died), hit
}

// atOpening is what a process passes before it can act.
const atOpening = "cond.registered"

// condOpener dies when it opens the Cond. Its place goes to others.
func condOpener(t *testing.T, bin, label string, pass int) (time.Duration, bool) {
	if label != atOpening || pass > 1 {
		return 0, false
	}
	c := newCond(t, nil)
	arg, files := reexec.Give(t, &gifts{Cond: c})
	cmd := mortalCommand(bin, label, pass)
	cmd.Args = append(cmd.Args, arg, strconv.Itoa(len(files)))
	p := reexec.StartCmd(t, cmd, "puppet", files)
	io.Copy(io.Discard, p.Out)
	died := time.Now()
	p.Cmd.Wait()
	wait := func() error {
		if err := c.Locker().Lock(context.Background()); err != nil {
			return err
		}
		return errors.Join(c.Wait(context.Background()), c.Locker().Unlock())
	}
	verify.Must(t, wait()) // a death wakes everybody, once
	needed := time.Since(died)
	second := verify.Blocks(t, "Wait", wait)
	verify.Must(t, c.Signal())
	verify.Must(t, second())
	return needed, p.Cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled()
}

// condWaiter dies while it waits for things that are made, or has just been told of one. The
// others get them all.
func condWaiter(t *testing.T, bin, label string, pass int) (time.Duration, bool) {
	if label == atOpening {
		return 0, false
	}
	mu, w := newMutex(t), newSegment(t, 64)
	g := gifts{Mutex: mu, Cond: newCond(t, mu), Words: w}
	v, other := newMortal(t, bin, label, pass, g), newPuppet(t, g)
	other.begins("cond consume 60000")
	v.act("cond consume 60000")
	count := &words(w.Bytes())[0]
	hit := false
	for i := 0; i < 200 && !hit; i++ {
		verify.Must(t, mend(soon(t), mu))
		*count++
		verify.Must(t, mu.Unlock())
		verify.Must(t, g.Cond.Signal())
		select {
		case <-v.dead:
			hit = true
		case <-time.After(500 * time.Microsecond):
		}
	}
	if !hit {
		v.kill() // in the midst of it
	}
	needed := consumed(t, mu, count, v.died)
	return needed, hit && v.self
}

// consumed waits until everything is taken.
func consumed(t *testing.T, mu *psync.Mutex, count *uint64, since time.Time) time.Duration {
	t.Helper()
	for start := time.Now(); ; time.Sleep(200 * time.Microsecond) {
		if atomic.LoadUint64(count) == 0 {
			return time.Since(since)
		}
		if time.Since(start) > patience {
			t.Fatalf("%d are left, and nobody takes them", atomic.LoadUint64(count))
		}
	}
}

// condTeller dies when it tells others of what it has made, who wait in two processes.
func condTeller(how string) func(t *testing.T, bin, label string, pass int) (time.Duration, bool) {
	return func(t *testing.T, bin, label string, pass int) (time.Duration, bool) {
		if label == atOpening {
			return 0, false
		}
		mu, w := newMutex(t), newSegment(t, 64)
		g := gifts{Mutex: mu, Cond: newCond(t, mu), Words: w}
		v, other := newMortal(t, bin, label, pass, g), newPuppet(t, g)
		other.begins("cond consume 60000")
		ctx, cancel := context.WithCancel(context.Background())
		here := verify.Blocks(t, "consume", func() error { return g.consume(ctx) })
		v.act("cond produce 60000 " + how)
		hit, died := v.gone()
		needed := consumed(t, mu, &words(w.Bytes())[0], died)
		cancel()
		if err := here(); err != context.Canceled {
			t.Error(err)
		}
		return needed, hit
	}
}

// condMourner dies when it finds that a process died that had made something and not told
// anybody.
func condMourner(t *testing.T, bin, label string, pass int) (time.Duration, bool) {
	if label == atOpening {
		return 0, false
	}
	if pass > 1 {
		return 0, false
	}
	mu, w := newMutex(t), newSegment(t, 64)
	g := gifts{Mutex: mu, Cond: newCond(t, mu), Words: w}
	silent := newPuppet(t, g)
	silent.must("cond signal", "<nil>")
	v := newMortal(t, bin, label, pass, g)
	v.waits("cond consume 60000")
	silent.must("cond make", "<nil>")
	silent.Kill()
	killed := time.Now()
	count := &words(w.Bytes())[0]
	if label == "cond.mourned" || label == "cond.cleared" {
		if self, _ := v.gone(); !self {
			t.Errorf("does not die at %s", label)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	here := make(chan error, 1)
	go func() { here <- g.consume(ctx) }()
	needed := consumed(t, mu, count, killed)
	hit := false
	select {
	case <-v.dead:
		hit = v.self
	default:
		v.kill()
	}
	// Whatever the two left behind, a Signal arrives.
	verify.Must(t, mend(soon(t), mu))
	*count++
	verify.Must(t, mu.Unlock())
	verify.Must(t, g.Cond.Signal())
	needed = max(needed, consumed(t, mu, count, time.Now()))
	cancel()
	if err := <-here; err != context.Canceled {
		t.Error(err)
	}
	return needed, hit
}

// consume takes things as they come.
func (g *gifts) consume(ctx context.Context) error {
	count := &words(g.Words.Bytes())[0]
	for {
		if err := mend(ctx, g.Mutex); err != nil {
			return err
		}
		err := g.Cond.WaitFor(ctx, func() bool { return *count > 0 })
		if err == nil {
			atomic.AddUint64(count, ^uint64(0))
		}
		if unlockErr := g.Mutex.Unlock(); unlockErr != nil {
			return unlockErr
		}
		if err != nil && !errors.Is(err, psync.ErrOwnerDied) {
			return err
		}
	}
}

// produce makes things, tells of each, and waits until they are taken.
func (g *gifts) produce(ctx context.Context, tell func() error) error {
	count := &words(g.Words.Bytes())[0]
	for range 20 {
		if err := g.make(ctx); err != nil {
			return err
		}
		if err := tell(); err != nil {
			return err
		}
		for atomic.LoadUint64(count) > 0 {
			time.Sleep(100 * time.Microsecond)
		}
	}
	return nil
}

func (g *gifts) make(ctx context.Context) error {
	if err := mend(ctx, g.Mutex); err != nil {
		return err
	}
	atomic.AddUint64(&words(g.Words.Bytes())[0], 1)
	return g.Mutex.Unlock()
}

// eventSetter dies when it has set the Event and wakes those who wait.
func eventSetter(t *testing.T, bin, label string, pass int) (time.Duration, bool) {
	if pass > 1 {
		return 0, false
	}
	e := newEvent(t)
	v := newMortal(t, bin, label, pass, gifts{Event: e})
	wait := verify.Blocks(t, "Wait", func() error { return e.Wait(context.Background()) })
	v.act("event set")
	hit, died := v.gone()
	verify.Must(t, wait())
	return time.Since(died), hit
}

// eventWaiter dies on its way into or out of Wait.
func eventWaiter(t *testing.T, bin, label string, pass int) (time.Duration, bool) {
	if pass > 1 {
		return 0, false
	}
	e := newEvent(t)
	v := newMortal(t, bin, label, pass, gifts{Event: e})
	v.act("event wait")
	wait := verify.Blocks(t, "Wait", func() error { return e.Wait(context.Background()) })
	began := time.Now()
	verify.Must(t, e.Set())
	verify.Must(t, wait())
	needed := time.Since(began)
	hit, _ := v.gone()
	return needed, hit
}

// onceRunner dies when its function has returned.
func onceRunner(t *testing.T, bin, label string, pass int) (time.Duration, bool) {
	if pass > 1 {
		return 0, false
	}
	o := newOnce(t)
	v := newMortal(t, bin, label, pass, gifts{Once: o})
	v.act("once do")
	hit, died := v.gone()
	ran := false
	verify.Must(t, o.Do(soon(t), func() error { ran = true; return nil }))
	needed := time.Since(died)
	if done := label == "once.done"; ran == done {
		t.Errorf("ran again: %v", ran)
	}
	return needed, hit
}
