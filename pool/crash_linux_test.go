package pool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/pool"
)

func init() { play = playScene }

// A scene is a program with a pool whose one worker, or which itself, is killed at a crash point: it runs in a binary that has them. It does everything at which one is: tasks by the hundred and one by one,
// large arguments and results, results faster than they are taken, cancellations, a pause, and an end.
func playScene(name string) int {
	ctx, cancel := context.WithTimeout(context.Background(), deadline/2)
	defer cancel()
	role, point, _ := strings.Cut(name, " ")
	if role == "worker" {
		// Only the first worker has it in its environment.
		os.Setenv("MULTIPROC_CRASH", point)
	}
	if err := scene(ctx, role == "worker"); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// A parcel of work: which task it is, where it counts its run, how much it takes and gives.
type load struct {
	Task  int
	Runs  *array.Array[int64]
	Bulk  []byte
	Reply int
	Slow  bool // to be decoded
	Pause time.Duration
}

type reply struct {
	Task int
	Bulk slowly
}

// slowly is bytes that take their time when they arrive in the program.
type slowly []byte

func (s slowly) MarshalBinary() ([]byte, error) { return s, nil }

func (s *slowly) UnmarshalBinary(b []byte) error {
	if len(b) > 0 && b[0] == 1 && !inWorker() {
		time.Sleep(time.Millisecond)
	}
	*s = bytes.Clone(b)
	return nil
}

var haul = pool.Register(func(_ context.Context, l load) (reply, error) {
	array.Add(l.Runs, l.Task, 1)
	time.Sleep(l.Pause)
	r := reply{l.Task, make(slowly, l.Reply)}
	if l.Slow {
		r.Bulk[0] = 1
	}
	return r, nil
})

func scene(ctx context.Context, workerDies bool) error {
	p, err := pool.New(pool.Options{Workers: 1, Grace: time.Second})
	if err != nil {
		return err
	}
	const n = 400
	runs, err := array.New[int64](n)
	if err != nil {
		return err
	}
	fs := make([]*pool.Future[reply], 0, n)
	var pause time.Duration
	submit := func(bulk, back int, slow bool) error {
		f, err := haul.Submit(ctx, p, load{len(fs), runs, make([]byte, bulk), back, slow, pause})
		fs = append(fs, f)
		return err
	}
	died, cancelled := 0, 0
	// collect judges the tasks from the i-th on.
	judged := 0
	collect := func() error {
		for ; judged < len(fs); judged++ {
			r, err := fs[judged].Result(ctx)
			ran := runs.Load(judged)
			var dead *pool.WorkerDiedError
			switch {
			case err == nil && (r.Task != judged || ran != 1):
				return fmt.Errorf("task %d has the result of task %d, and ran %d times", judged, r.Task, ran)
			case err == nil:
			case errors.Is(err, pool.ErrCancelled) && ran <= 1:
				cancelled++
			case errors.As(err, &dead) && dead.Signal == syscall.SIGKILL && ran <= 1:
				died++
			default:
				return fmt.Errorf("task %d, which ran %d times: %w", judged, ran, err)
			}
		}
		return nil
	}
	for i := 0; i < n; {
		phase := i * 6 / n
		pause = 0
		if phase == 4 {
			pause = 200 * time.Microsecond // so that some are still there to be cancelled, with the worker but not begun
		}
		for range n / 6 {
			switch phase {
			case 0, 4:
				err = submit(10, 10, false)
			case 1:
				err = submit(100_000, 10, false)
			case 2:
				err = submit(10, 100_000, false)
			case 3:
				err = submit(10, 30_000, true) // four of them fill the ring
			case 5:
				if err = submit(10, 10, false); err == nil {
					_, err = fs[len(fs)-1].Result(ctx) // one by one
					var dead *pool.WorkerDiedError
					if errors.As(err, &dead) {
						err = nil
					}
				}
			}
			if err != nil {
				return err
			}
			for i == 0 && len(p.PIDs()) == 0 {
				time.Sleep(100 * time.Microsecond)
			}
			os.Unsetenv("MULTIPROC_CRASH") // the first worker has it
			i++
		}
		if i+n/6 > n {
			i = n
		}
		if phase == 4 {
			for _, f := range slices.Backward(fs[judged:]) { // waiting ones, then some that were sent
				f.Cancel()
			}
		}
		if err := collect(); err != nil {
			return err
		}
		os.Unsetenv("MULTIPROC_CRASH")   // the first worker has it by now
		time.Sleep(2 * time.Millisecond) // the worker falls asleep
	}
	s := p.Stats()
	if died > 1 || s.Died > 1 || s.Done != s.Submitted {
		return fmt.Errorf("%d tasks failed; %+v", died, s)
	}
	pids := p.PIDs()
	p.Close()
	if err := p.Join(ctx); err != nil {
		return fmt.Errorf("%w; %+v", err, p.Stats())
	}
	for _, pid := range pids {
		if alive(pid) {
			return fmt.Errorf("worker %d is still there", pid)
		}
	}
	fmt.Printf("died %d\n", s.Died)
	return nil
}

// crashLabels are the labels in the source.
func crashLabels(t *testing.T) (worker, program []string) {
	t.Helper()
	for _, name := range []string{"serve.go", "worker.go", "bells.go"} {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`crash\.At\("([^"]+)"\)`).FindAllSubmatch(source, -1) {
			if label := string(m[1]); strings.HasPrefix(label, "pool.worker.") {
				worker = append(worker, label)
			} else {
				program = append(program, label)
			}
		}
	}
	return worker, program
}

// A worker, and the program, are killed at every step of their conversation. The worker's death costs one task at most, and none runs twice; the program's is its workers'.
func TestCrashPoints(t *testing.T) {
	if testing.Short() {
		t.Skip("kills some hundred processes")
	}
	bin := filepath.Join(t.TempDir(), "pool.test")
	if out, err := exec.Command("go", "test", "-c", "-tags", "multiproc_crash", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	worker, program := crashLabels(t)
	if len(worker) < 14 || len(program) < 9 {
		t.Fatalf("only %v, %v", worker, program)
	}
	var times []time.Duration
	for _, label := range worker {
		hit := false
		for _, pass := range []int{1, 2, 30} {
			t.Run(fmt.Sprintf("%s:%d", label, pass), func(t *testing.T) {
				out, err := sceneCommand(t, bin, fmt.Sprintf("worker %s:%d", label, pass)).CombinedOutput()
				text := strings.TrimSpace(string(out))
				if err != nil || !strings.HasPrefix(text, "died ") {
					t.Fatalf("%v\n%s", err, text)
				}
				hit = hit || text == "died 1"
				// At its very end it dies unseen: it was to end.
				hit = hit || label == "pool.worker.stopped"
			})
		}
		if !hit {
			t.Errorf("no worker ever died at %s", label)
		}
	}
	for _, label := range program {
		hit := false
		for _, pass := range []int{1, 2, 20} {
			t.Run(fmt.Sprintf("%s:%d", label, pass), func(t *testing.T) {
				cmd := sceneCommand(t, bin, "program")
				mark := fmt.Sprintf("POOL_TEST_MARK=%d.%s.%d", os.Getpid(), label, pass)
				cmd.Env = append(cmd.Env, fmt.Sprintf("MULTIPROC_CRASH=%s:%d", label, pass), mark)
				out, err := cmd.CombinedOutput()
				began := time.Now()
				var exit *exec.ExitError
				if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
					hit = true
				} else if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				for left := marked(mark); len(left) > 0; left = marked(mark) {
					if time.Since(began) > deadline/2 {
						t.Fatalf("processes %v have outlived the program", left)
					}
					time.Sleep(time.Millisecond)
				}
				times = append(times, time.Since(began))
			})
		}
		if !hit {
			t.Errorf("the program never died at %s", label)
		}
	}
	if len(times) == 0 {
		return
	}
	slices.Sort(times)
	t.Logf("workers were gone %v after the program (median), %v (worst)", times[len(times)/2], times[len(times)-1])
	if p90 := times[len(times)*9/10]; p90 > time.Second {
		t.Errorf("workers were gone %v after the program only", p90)
	}
}

func sceneCommand(t *testing.T, bin, name string) *exec.Cmd {
	cmd := exec.CommandContext(within(t), bin)
	cmd.Env = append(os.Environ(), "POOL_TEST_SCENE="+name)
	cmd.WaitDelay = time.Second // workers have its output, too
	return cmd
}

// marked are the processes that have something in their environment.
func marked(mark string) (pids []string) {
	names, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err == nil && slices.Contains(strings.Split(string(b), "\x00"), mark) {
			pids = append(pids, strings.Split(name, "/")[2])
		}
	}
	return pids
}
