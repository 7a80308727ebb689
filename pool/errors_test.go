//go:build linux

package pool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/pool"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/queue"
)

// known are errors that nobody has to register.
var known = []error{
	context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, fs.ErrNotExist, fs.ErrPermission, os.ErrProcessDone, errors.ErrUnsupported,
	psync.ErrOwnerDied, queue.ErrClosed, pool.ErrClosed, pool.ErrCancelled, syscall.ECONNREFUSED, syscall.Errno(200),
}

var returnsKnown = pool.Register(func(_ context.Context, n int) (int, error) { return 0, fmt.Errorf("task %d: %w", n, known[n]) })

func TestKnownErrors(t *testing.T) {
	executors(t, func(t *testing.T, e pool.Executor) {
		for n, want := range known {
			_, err := returnsKnown.Apply(within(t), e, n)
			for _, other := range known {
				if errors.Is(err, other) != errors.Is(want, other) {
					t.Errorf("the error %v: is it %v? %v", err, other, errors.Is(err, other))
				}
			}
		}
	})
}

// A sizeError is nothing that an error from another process can be.
type sizeError int

func (e sizeError) Error() string { return fmt.Sprintf("%d is too large", int(e)) }

var tooLarge = pool.Register(func(_ context.Context, n int) (int, error) { return 0, fmt.Errorf("measuring: %w", sizeError(n)) })

// In a pool of goroutines a task's error wraps the error itself.
func TestErrorOfAGoroutine(t *testing.T) {
	g := pool.NewGoroutines(1)
	defer g.Terminate()
	_, err := tooLarge.Apply(within(t), g, 7)
	var size sizeError
	var te *pool.TaskError
	if !errors.As(err, &size) || size != 7 || !errors.As(err, &te) || te.Task != tooLarge.Name() || te.Err != "measuring: 7 is too large" {
		t.Errorf("%v", err)
	}
}

var sulks = pool.Register(func(ctx context.Context, _ int) (int, error) { <-ctx.Done(); return 0, fs.ErrPermission })

// A task that heeds the end of its ctx with an error of its own is known to have ended for that reason all the same.
func TestErrorAfterTheTimeLimit(t *testing.T) {
	executors(t, func(t *testing.T, e pool.Executor) {
		_, err := sulks.With(pool.TaskOptions{Timeout: 10 * time.Millisecond}).Apply(within(t), e, 0)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%v", err)
		}
	})
	g := pool.NewGoroutines(1, pool.GoroutineOptions{TaskTimeout: 10 * time.Millisecond})
	defer g.Terminate()
	_, err := block.Apply(within(t), g, 0)
	if te := (*pool.TaskError)(nil); !errors.As(err, &te) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with the executor's own time limit: %v", err)
	}
}

// What the initialiser's error was can be asked, and how its worker died.
func TestInitError(t *testing.T) {
	_, err := pool.New(pool.Options{Workers: 1, Initializer: pool.Init(failPrepare, "matter")})
	var initialising *pool.InitError
	var exit *process.ExitError
	if !errors.As(err, &initialising) || !strings.Contains(initialising.Err, "no matter") || !errors.Is(err, fs.ErrNotExist) || errors.As(err, &exit) {
		t.Errorf("of an initialiser that returns an error: %v", err)
	}
	_, err = pool.New(pool.Options{Workers: 1, Initializer: pool.Init(diePrepare, "matter")})
	if !errors.As(err, &initialising) || !errors.As(err, &exit) || exit.Err != "matter" || exit.PID == 0 || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of one that panics: %v", err)
	}
}

var lastWords = pool.Register(func(_ context.Context, s string) (int, error) {
	fmt.Fprintln(os.Stderr, s)
	os.Exit(3)
	return 0, nil
})

// What a worker says on standard error goes where Options.Stderr says, and its end is in the error, too; as is the ExitError.
func TestStderrOfWorkers(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := newPool(t, pool.Options{Workers: 1, Stderr: w})
	_, err = lastWords.Apply(within(t), p, "so long")
	var dead *pool.WorkerDiedError
	var exit *process.ExitError
	if !errors.As(err, &dead) || strings.TrimSpace(dead.Stderr) != "so long" || !errors.As(err, &exit) || exit.Code != 3 || exit.PID != dead.PID {
		t.Errorf("%+v: %v", dead, err)
	}
	p.Close()
	if err := p.Join(within(t)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if said, err := io.ReadAll(r); string(said) != "so long\n" || err != nil {
		t.Errorf("%q, %v", said, err)
	}
}

// A program that cannot start workers is told when it makes the pool.
func TestNoMain(t *testing.T) {
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), "POOL_TEST_NO_MAIN=1")
	if said, err := c.Output(); !strings.HasPrefix(string(said), "true ") || err != nil {
		t.Errorf("%q, %v", said, err)
	}
}

var countAll = pool.Register(func(_ context.Context, fs []*os.File) (int, error) { return len(fs), nil })

// More descriptors than can be on their way at once are refused by Submit, and harm nobody.
func TestTooManyDescriptors(t *testing.T) {
	p := newPool(t, pool.Options{Workers: 1})
	var files []*os.File
	for range 600 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Skip(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	if _, err := countAll.Apply(within(t), p, files); err == nil || !strings.Contains(err.Error(), "600 descriptors, where 512 can be sent at once") {
		t.Errorf("%v", err)
	}
	if n, err := countAll.Apply(within(t), p, files[:100]); n != 100 || err != nil || p.Stats().Died > 0 {
		t.Errorf("%d, %v", n, err)
	}
}

// A Ctrl-C at a terminal, which workers hear too, is the program's affair.
func TestInterruptOfWorkers(t *testing.T) {
	p := newPool(t, pool.Options{Workers: 1})
	path, open := newGate(t)
	f, err := await.Submit(within(t), p, path)
	if err != nil {
		t.Fatal(err)
	}
	for !f.Running() {
		if isDone(f) {
			t.Fatal("it has ended")
		}
		time.Sleep(time.Millisecond)
	}
	if err := syscall.Kill(p.PIDs()[0], syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	open()
	if _, err := f.Result(within(t)); err != nil || p.Stats().Died > 0 {
		t.Errorf("%v, %+v", err, p.Stats())
	}
	if n, err := square.Apply(within(t), p, 4); n != 16 || err != nil || p.Stats().Started != 1 {
		t.Errorf("%d, %v, %+v", n, err, p.Stats())
	}
}

// An error that keeps a stream's tasks from being submitted is the last that it yields; that of a task, or of a chunk, stands in the place of its results.
func TestErrorsInStreams(t *testing.T) {
	executors(t, func(t *testing.T, e pool.Executor) {
		var got []string
		paths := []string{"/dev/null", "/no/a", "/dev/null", "/no/b", "/dev/null"}
		for _, err := range open.IMap(within(t), e, slices.Values(paths)) {
			got = append(got, fmt.Sprint(errors.Is(err, fs.ErrNotExist)))
		}
		if want := "false true false true false"; strings.Join(got, " ") != want {
			t.Errorf("%v, want %s", got, want)
		}
		got = nil
		for _, err := range open.With(pool.TaskOptions{Chunk: 2}).IMap(within(t), e, slices.Values(paths)) {
			got = append(got, fmt.Sprint(errors.Is(err, fs.ErrNotExist)))
		}
		if want := "true true true true false"; strings.Join(got, " ") != want {
			t.Errorf("by two: %v, want %s", got, want)
		}
		got = nil
		for _, err := range open.IMap(within(t), e, func(yield func(string) bool) {
			for i := 0; yield("/dev/null"); i++ {
				if i == 0 {
					e.Close()
				}
			}
		}) {
			got = append(got, fmt.Sprint(err))
		}
		if want := "<nil>, pool: closed"; strings.Join(got, ", ") != want {
			t.Errorf("of an executor that is closed: %v, want %s", got, want)
		}
	})
}
