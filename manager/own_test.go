package manager_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/process"
)

// An account is a type of the test's own.
type account struct {
	balance int
	history *manager.List[int]
}

type transfer struct {
	By      int
	History *manager.List[int]
}

var errBroke = manager.RegisterError(errors.New("there is not so much"))

func (a *account) add(_ context.Context, by int) (int, error) {
	if a.balance+by < 0 {
		return a.balance, fmt.Errorf("taking %d of %d: %w", -by, a.balance, errBroke)
	}
	now := a.balance
	time.Sleep(10 * time.Microsecond) // without exclusion something would be lost now
	a.balance = now + by
	return a.balance, nil
}

var (
	accounts  = manager.Register("account", func() *account { return &account{balance: 100} })
	add       = manager.RegisterMethod(accounts, (*account).add)
	serverPID = manager.RegisterMethod(accounts, func(*account, context.Context, struct{}) (int, error) { return os.Getpid(), nil })
	panics    = manager.RegisterMethod(accounts, func(_ *account, _ context.Context, what string) (int, error) { panic(what) })
	untilEnd  = manager.RegisterMethod(accounts, func(a *account, ctx context.Context, told *manager.Event) (int, error) {
		if told != nil {
			// ctx may end as soon as they know, which is before we do.
			if err := told.Set(context.WithoutCancel(ctx)); err != nil {
				return 0, err
			}
		}
		<-ctx.Done()
		a.balance = 7
		return 0, ctx.Err()
	})
	keep = manager.RegisterMethod(accounts, func(a *account, ctx context.Context, t transfer) (*manager.List[int], error) {
		if t.History != nil {
			a.history = t.History
		}
		a.balance += t.By
		return a.history, a.history.Append(ctx, a.balance)
	})
	together = manager.RegisterMethod(accounts, func(a *account, ctx context.Context, b *manager.Barrier) (int, error) { return b.Wait(ctx) }).Concurrent()

	unknownHere = manager.Register[stranger]("only in the client", nil)
	_           = manager.RegisterMethod(unknownHere, func(*stranger, context.Context, int) (int, error) { return 0, nil })
)

type stranger struct{}

type addJob struct {
	A *manager.Object[account]
	N int
}

var addMany = process.Register(func(ctx context.Context, j addJob) error {
	for range j.N {
		if _, err := add.Call(ctx, j.A, 1); err != nil {
			return err
		}
	}
	return nil
})

var callUntilEnd = process.Register(func(ctx context.Context, a *manager.Object[account]) error {
	_, err := untilEnd.Call(context.WithoutCancel(ctx), a, nil)
	return err
})

func TestOwnType(t *testing.T) {
	m, ctx := start(t, manager.Options{}), testContext(t)
	a := must[*manager.Object[account]](t)(accounts.New(m))

	t.Run("children", func(t *testing.T) {
		var ps []*process.Process
		for range 3 {
			ps = append(ps, run(t, addMany, addJob{a, 100}))
		}
		join(t, ps...)
		if n, err := add.Call(ctx, a, 0); n != 400 || err != nil {
			t.Errorf("balance %d, %v", n, err)
		}
		if pid, err := serverPID.Call(ctx, a, struct{}{}); pid == os.Getpid() || err != nil {
			t.Errorf("the method ran in process %d, %v", pid, err)
		}
	})
	t.Run("error", func(t *testing.T) {
		_, err := add.Call(ctx, a, -1000)
		var e *manager.MethodError
		if !errors.As(err, &e) || !errors.Is(err, errBroke) || e.Type != "account" || !strings.Contains(e.Method, "add") || e.Err != "taking 1000 of 400: there is not so much" || e.Stack != "" {
			t.Errorf("%v (%+v)", err, e)
		}
	})
	t.Run("panic", func(t *testing.T) {
		_, err := panics.Call(ctx, a, "oh no")
		var e *manager.MethodError
		if !errors.As(err, &e) || e.Err != "oh no" || !strings.Contains(e.Stack, "own_test.go") {
			t.Errorf("%v (%+v)", err, e)
		}
		if n, err := add.Call(ctx, a, 0); n != 400 || err != nil {
			t.Errorf("afterwards: %d, %v", n, err)
		}
	})
	t.Run("handles", func(t *testing.T) {
		l := must[*manager.List[int]](t)(manager.NewList[int](m))
		got := must[*manager.List[int]](t)(keep.Call(ctx, a, transfer{1, l}))
		must[*manager.List[int]](t)(keep.Call(ctx, a, transfer{2, nil}))
		check(t, got.Append(ctx, 0))
		if v, err := l.Snapshot(ctx); fmt.Sprint(v) != "[401 403 0]" || err != nil {
			t.Errorf("history %v, %v", v, err)
		}
	})
	t.Run("named", func(t *testing.T) {
		if accounts.Name() != "account" {
			t.Errorf("the type is called %q", accounts.Name())
		}
		one := must[*manager.Object[account]](t)(accounts.Open(m, "the account"))
		two := must[*manager.Object[account]](t)(accounts.Open(m, "the account"))
		must[int](t)(add.Call(ctx, one, 5))
		if n, err := add.Call(ctx, two, 0); n != 105 || err != nil {
			t.Errorf("balance %d, %v", n, err)
		}
		if _, err := unknownHere.Open(m, "the account"); !errors.Is(err, manager.ErrType) {
			t.Errorf("opened as another type: %v", err)
		}
		check(t, one.Close())
		if _, err := add.Call(ctx, one, 0); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("call after Close: %v", err)
		}
	})
	t.Run("ctx", func(t *testing.T) {
		b := must[*manager.Object[account]](t)(accounts.New(m))
		told := must[*manager.Event](t)(manager.NewEvent(m))
		short, cancel := context.WithCancel(ctx)
		call := later(func() error { _, err := untilEnd.Call(short, b, told); return err })
		check(t, told.Wait(ctx))
		next := later(func() error { // in the same object, so it waits
			n, err := add.Call(ctx, b, 0)
			if err == nil && n != 7 {
				err = fmt.Errorf("balance %d", n)
			}
			return err
		})
		must[int](t)(add.Call(ctx, a, 0)) // another one's does not
		cancel()
		if err := call(); err != context.Canceled {
			t.Errorf("call whose context has ended: %v", err)
		}
		check(t, next())
	})
	t.Run("killed caller", func(t *testing.T) {
		b := must[*manager.Object[account]](t)(accounts.New(m))
		p := run(t, callUntilEnd, b)
		for n := 100; n == 100; { // until its method has the object
			short, cancel := context.WithTimeout(ctx, time.Millisecond)
			v, err := add.Call(short, b, 0)
			cancel()
			if n = v; err != nil {
				break
			}
		}
		killed(p)
		if n, err := add.Call(ctx, b, 0); n != 7 || err != nil {
			t.Errorf("balance %d, %v", n, err)
		}
	})
	t.Run("concurrent", func(t *testing.T) {
		bar := must[*manager.Barrier](t)(manager.NewBarrier(m, 3))
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { must[int](t)(together.Call(ctx, a, bar)) })
		}
		wg.Wait()
	})
}

func TestOwnTypeOfAnotherProgram(t *testing.T) {
	w := watch(t)
	restore := manager.ForgetType("only in the client")
	defer restore()
	if _, err := unknownHere.New(w.m); !errors.Is(err, manager.ErrNotRegistered) || !strings.Contains(err.Error(), `"only in the client"`) {
		t.Errorf("New: %v", err)
	}
}
