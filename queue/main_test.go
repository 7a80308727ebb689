package queue_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/eventcount"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/queue"
)

func TestMain(m *testing.M) {
	reexec.Main(m, helpers)
}

// helpers are what runs in other processes. Files for one system add theirs.
var helpers = map[string]reexec.Helper{
	"produce":  produce,
	"consume":  consume,
	"echo":     echo,
	"sink":     sink,
	"takeOne":  takeOne,
	"leaseOne": leaseOne,
}

// patience is how long anything may take before it counts as hanging.
const patience = 60 * time.Second

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func newQueue[T any](t testing.TB, o queue.Options) *queue.Queue[T] {
	t.Helper()
	q, err := queue.New[T](o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return q
}

// start runs a helper with the value, which may have queues in it, as its first argument.
func start(t testing.TB, helper string, v any, args ...string) *reexec.Process {
	t.Helper()
	arg, files := reexec.Give(t, v)
	return reexec.Start(t, helper, files, append([]string{arg, strconv.Itoa(len(files))}, args...)...)
}

// taken is the helper's side of start.
func taken[T any](args []string) T {
	var v T
	n, err := strconv.Atoi(args[1])
	if err == nil {
		err = reexec.Take(args[0], n, &v)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	return v
}

// A stamp is a message that says where it comes from.
type stamp struct{ Producer, Number int64 }

// produce puts stamps, as many as it is told.
func produce(args []string) int {
	q := taken[*queue.Queue[stamp]](args)
	producer, _ := strconv.ParseInt(args[2], 10, 64)
	n, _ := strconv.ParseInt(args[3], 10, 64)
	for i := range n {
		if err := q.Put(context.Background(), stamp{producer, i}); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	return 0
}

// consume prints the stamps that it gets until the queue is shut down.
func consume(args []string) int {
	q := taken[*queue.Queue[stamp]](args)
	w := bufio.NewWriter(os.Stdout)
	defer w.Flush()
	for {
		s, err := q.Get(context.Background())
		if errors.Is(err, queue.ErrClosed) {
			return 0
		}
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Fprintln(w, s.Producer, s.Number)
	}
}

type pair struct{ To, Back *queue.Queue[[]byte] }

// echo sends back what it gets.
func echo(args []string) int {
	p := taken[pair](args)
	eventcount.NoSpin.Store(args[2] == "true")
	fmt.Println("ready")
	for {
		b, err := p.To.Get(context.Background())
		if err == nil {
			err = p.Back.Put(context.Background(), b)
		}
		if err != nil {
			return 0
		}
	}
}

// takeOne gets a message and lives on.
func takeOne(args []string) int {
	q := taken[*queue.Queue[stamp]](args)
	s, err := q.Get(context.Background())
	fmt.Println(s.Number, err)
	bufio.NewReader(os.Stdin).ReadString('\n')
	return 0
}

// leaseOne leases a message and lives on.
func leaseOne(args []string) int {
	q := taken[*queue.Queue[stamp]](args)
	l, err := q.Lease(context.Background())
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(l.Value().Number, l.Deliveries())
	bufio.NewReader(os.Stdin).ReadString('\n')
	return 0
}

// sink gets messages until there are no more, and then says so.
func sink(args []string) int {
	p := taken[pair](args)
	ctx := context.Background()
	fmt.Println("ready")
	buf := make([][]byte, 256)
	for {
		var err error
		if args[2] == "true" {
			_, err = p.To.GetMany(ctx, buf)
		} else {
			_, err = p.To.Get(ctx)
		}
		if err != nil {
			p.Back.Put(ctx, nil)
			return 0
		}
	}
}
