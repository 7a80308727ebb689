package manager_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/detector"
	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/process"
)

// run starts a child and returns it. Its end, good or bad, is the test's affair.
func run[A any](t testing.TB, f *process.Func[A], args A) *process.Process {
	t.Helper()
	p := process.New(f, args)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		<-p.Done()
	})
	return p
}

func join(t testing.TB, ps ...*process.Process) {
	t.Helper()
	ctx := testContext(t)
	for _, p := range ps {
		if err := p.Join(ctx); err != nil {
			t.Error(err)
		}
	}
}

// objects asks how many objects there are until the number is want.
func objects(t *testing.T, m *manager.Manager, want int) {
	t.Helper()
	ctx := testContext(t)
	// Handles that the test does not use any more close themselves. Then that is to be seen every time, and not once in a hundred.
	runtime.GC()
	for {
		s, err := m.Stats(ctx)
		if err != nil {
			t.Errorf("the server never had %d objects: %v", want, err)
			return
		}
		n := 0
		for _, k := range s.Objects {
			n += k
		}
		if n == want {
			return
		}
		time.Sleep(time.Millisecond) // for sessions of processes that are just ending
	}
}

type shared struct {
	Counts *manager.Dict[string, int]
	Lines  *manager.List[string]
	Nested *manager.Dict[string, *manager.List[int]]
	M      *manager.Manager
	N      int
}

var workShared = process.Register(func(ctx context.Context, s shared) error {
	for range s.N {
		if _, err := s.Counts.Update(ctx, "n", func(v int, _ bool) (int, error) { return v + 1, nil }); err != nil {
			return err
		}
	}
	if err := s.Lines.Append(ctx, fmt.Sprint(os.Getpid())); err != nil {
		return err
	}
	l, ok, err := s.Nested.Get(ctx, "inner")
	if err != nil || !ok {
		return fmt.Errorf("inner: %v, %w", ok, err)
	}
	if err := l.Append(ctx, os.Getpid()); err != nil {
		return err
	}
	own, err := manager.NewList[int](s.M)
	if err != nil {
		return err
	}
	if err := own.Append(ctx, 7, 8); err != nil {
		return err
	}
	return s.Nested.Set(ctx, fmt.Sprint(os.Getpid()), own)
})

func TestChildrenShareObjects(t *testing.T) {
	ctx := testContext(t)
	m := start(t, manager.Options{})
	s := newShared(t, m, 100)
	inner, err := manager.NewList[int](m)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Nested.Set(ctx, "inner", inner); err != nil {
		t.Fatal(err)
	}
	const children = 4
	var ps []*process.Process
	for range children {
		ps = append(ps, run(t, workShared, s))
	}
	join(t, ps...)
	if n, _, err := s.Counts.Get(ctx, "n"); n != children*100 || err != nil {
		t.Errorf("%d children updated to %d, %v", children, n, err)
	}
	lines, err := s.Lines.Snapshot(ctx)
	if len(lines) != children || err != nil {
		t.Errorf("lines %v, %v", lines, err)
	}
	pids, err := inner.Snapshot(ctx)
	if len(pids) != children || err != nil {
		t.Errorf("the handle from before sees %v, %v", pids, err)
	}
	// What the children made and put in outlives them.
	objects(t, m, 4+children)
	for _, p := range ps {
		l, ok, err := s.Nested.Get(ctx, fmt.Sprint(p.PID()))
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		if v, err := l.Snapshot(ctx); !slices.Equal(v, []int{7, 8}) || err != nil {
			t.Errorf("the child's list = %v, %v", v, err)
		}
		l.Close()
		if _, err := s.Nested.Delete(ctx, fmt.Sprint(p.PID())); err != nil {
			t.Error(err)
		}
	}
	objects(t, m, 4)
	runtime.KeepAlive(s)
}

func newShared(t *testing.T, m *manager.Manager, n int) shared {
	t.Helper()
	counts, err1 := manager.NewDict[string, int](m)
	lines, err2 := manager.NewList[string](m)
	nested, err3 := manager.NewDict[string, *manager.List[int]](m)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return shared{counts, lines, nested, m, n}
}

type box struct {
	Name  string
	Lists map[string][]*manager.List[int]
	Any   any
}

func TestHandlesAnywhereInValues(t *testing.T) {
	ctx := testContext(t)
	m := start(t, manager.Options{})
	d, err := manager.NewDict[int, box](m)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := manager.NewList[int](m)
	b, err := manager.NewList[int](m)
	if err != nil {
		t.Fatal(err)
	}
	in := box{"x", map[string][]*manager.List[int]{"l": {a, nil, b, a}}, map[string]any{"k": int64(1)}}
	if err := d.Set(ctx, 1, in); err != nil {
		t.Fatal(err)
	}
	a.Close()
	b.Append(ctx, 5)
	b.Close()
	objects(t, m, 3)
	out, ok, err := d.Get(ctx, 1)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	ls := out.Lists["l"]
	if len(ls) != 4 || ls[1] != nil || ls[0] != ls[3] || out.Name != "x" || out.Any.(map[string]any)["k"] != int64(1) {
		t.Fatalf("arrived as %+v", out)
	}
	if v, err := ls[2].Get(ctx, 0); v != 5 || err != nil {
		t.Errorf("Get = %v, %v", v, err)
	}
	// Overwritten, and the handles gone: freed.
	if err := d.Set(ctx, 1, box{}); err != nil {
		t.Fatal(err)
	}
	objects(t, m, 3)
	for _, l := range ls {
		if l != nil {
			l.Close()
		}
	}
	objects(t, m, 1)
	if out, ok, err := d.Get(ctx, 1); !ok || err != nil || out.Lists != nil {
		t.Errorf("Get = %+v, %v, %v", out, ok, err)
	}
}

func TestRefusedValues(t *testing.T) {
	ctx := testContext(t)
	m := start(t, manager.Options{})
	other := start(t, manager.Options{})
	foreign, err := manager.NewList[int](other)
	if err != nil {
		t.Fatal(err)
	}
	closed, err := manager.NewList[int](m)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	a, b, err := pipe.New()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	lists, err := manager.NewDict[string, *manager.List[int]](m)
	if err != nil {
		t.Fatal(err)
	}
	type withFile struct{ Files []*os.File }
	files, _ := manager.NewDict[string, withFile](m)
	type withPipe struct{ P *pipe.Conn }
	pipes, _ := manager.NewList[withPipe](m)
	chans, _ := manager.NewDict[string, map[string]chan int](m)
	managers, _ := manager.NewList[*manager.Manager](m)
	for _, test := range []struct {
		name string
		err  error
		says []string
		is   error
	}{
		{"another manager's list", lists.Set(ctx, "a", foreign), []string{"another manager"}, nil},
		{"a closed list", lists.Set(ctx, "a", closed), []string{"closed List"}, fs.ErrClosed},
		{"a zero list", lists.Set(ctx, "a", new(manager.List[int])), []string{"zero List"}, nil},
		{"a file", files.Set(ctx, "a", withFile{[]*os.File{os.Stdin}}), []string{"Files[0]", "stored in a manager"}, nil},
		{"a pipe", pipes.Append(ctx, withPipe{}, withPipe{a}), []string{"v[1].P", "stored in a manager"}, nil},
		{"a channel", chans.Set(ctx, "a", map[string]chan int{"x": nil}), []string{"chan int"}, nil},
		{"a manager", managers.Append(ctx, m), []string{"Manager"}, nil},
	} {
		if test.err == nil {
			t.Errorf("%s: stored", test.name)
			continue
		}
		for _, s := range test.says {
			if !strings.Contains(test.err.Error(), s) {
				t.Errorf("%s: %q does not say %q", test.name, test.err, s)
			}
		}
		if test.is != nil && !errors.Is(test.err, test.is) {
			t.Errorf("%s: %v is no %v", test.name, test.err, test.is)
		}
	}
	if err := a.SendBytes([]byte("x")); err != nil {
		t.Errorf("the refused pipe end is unusable: %v", err)
	}
}

var dropShared = process.Register(func(ctx context.Context, s shared) error {
	_, err := s.Lines.Len(ctx)
	return err
})

var ignoreShared = process.Register(func(ctx context.Context, s shared) error { return nil })

var hang = process.Register(func(ctx context.Context, s shared) error {
	if _, err := s.Lines.Len(ctx); err != nil {
		return err
	}
	list, err := manager.NewList[int](s.M)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(list)
	if err := s.Lines.Append(ctx, "ready"); err != nil {
		return err
	}
	select {}
})

// waitLen waits until a list has n values.
func waitLen(t *testing.T, l *manager.List[string], n int) {
	t.Helper()
	ctx := testContext(t)
	for {
		got, err := l.Len(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got >= n {
			return
		}
	}
}

func TestLifetimes(t *testing.T) {
	t.Run("closed handles", func(t *testing.T) {
		m := start(t, manager.Options{})
		d, err := manager.NewDict[string, int](m)
		if err != nil {
			t.Fatal(err)
		}
		objects(t, m, 1)
		d.Close()
		d.Close()
		objects(t, m, 0)
		if _, _, err := d.Get(t.Context(), "a"); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("Get after Close: %v", err)
		}
	})
	t.Run("unreachable handles", func(t *testing.T) {
		m := start(t, manager.Options{})
		for range 100 {
			if _, err := manager.NewList[int](m); err != nil {
				t.Fatal(err)
			}
		}
		for i := 0; i < 10; i++ {
			runtime.GC()
			time.Sleep(time.Millisecond) // cleanups run in a goroutine of the runtime's
		}
		objects(t, m, 0)
	})
	t.Run("a child that returns", func(t *testing.T) {
		m := start(t, manager.Options{})
		s := newShared(t, m, 0)
		p := run(t, dropShared, s)
		s.Counts.Close()
		s.Lines.Close()
		s.Nested.Close()
		join(t, p)
		objects(t, m, 0)
	})
	t.Run("a killed child", func(t *testing.T) {
		m := start(t, manager.Options{})
		s := newShared(t, m, 0)
		p := run(t, hang, s)
		waitLen(t, s.Lines, 1)
		objects(t, m, 4)
		p.Kill()
		objects(t, m, 3)
		runtime.KeepAlive(s)
		if st, err := m.Stats(testContext(t)); st.Sessions != 1 || err != nil {
			t.Errorf("sessions %d, %v", st.Sessions, err)
		}
	})
	t.Run("children that die before they have claimed", func(t *testing.T) {
		m := start(t, manager.Options{})
		s := newShared(t, m, 0)
		for range 10 {
			p := process.New(dropShared, s)
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			p.Kill()
			<-p.Done()
		}
		s.Counts.Close()
		s.Lines.Close()
		s.Nested.Close()
		objects(t, m, 0)
	})
	t.Run("a child that never uses its handles", func(t *testing.T) {
		m := start(t, manager.Options{})
		s := newShared(t, m, 0)
		join(t, run(t, ignoreShared, s), run(t, ignoreShared, s))
		s.Counts.Close()
		s.Lines.Close()
		s.Nested.Close()
		objects(t, m, 0)
	})
	t.Run("a message that is lost", func(t *testing.T) {
		m := start(t, manager.Options{})
		l, err := manager.NewList[int](m)
		if err != nil {
			t.Fatal(err)
		}
		a, b, err := pipe.New()
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		if err := a.Send(l); err != nil {
			t.Fatal(err)
		}
		l.Close()
		objects(t, m, 1)
		b.Close() // with the message in it
		objects(t, m, 0)
	})
	t.Run("a message that is received after its sender's end", func(t *testing.T) {
		m := start(t, manager.Options{})
		l, err := manager.NewList[int](m)
		if err != nil {
			t.Fatal(err)
		}
		a, b, err := pipe.New()
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if err := a.Send(l); err != nil {
			t.Fatal(err)
		}
		l.Close()
		a.Close()
		objects(t, m, 1) // it is on its way
		var got *manager.List[int]
		if err := b.Recv(&got); err != nil {
			t.Fatal(err)
		}
		if err := got.Append(t.Context(), 1); err != nil {
			t.Error(err)
		}
		objects(t, m, 1)
		got.Close()
		objects(t, m, 0)
		if st, err := m.Stats(testContext(t)); st.InTransit != 0 || err != nil {
			t.Errorf("in transit %d, %v", st.InTransit, err)
		}
	})
	t.Run("named ones stay", func(t *testing.T) {
		ctx := testContext(t)
		m := start(t, manager.Options{})
		d, err := manager.OpenDict[string, int](m, "d")
		if err != nil {
			t.Fatal(err)
		}
		d.Set(ctx, "a", 1)
		d.Close()
		again, err := manager.OpenDict[string, int](m, "d")
		if err != nil {
			t.Fatal(err)
		}
		if v, ok, err := again.Get(ctx, "a"); v != 1 || !ok || err != nil {
			t.Error(v, ok, err)
		}
		if err := m.Remove(ctx, "d"); err != nil {
			t.Error(err)
		}
		if err := m.Remove(ctx, "d"); !errors.Is(err, manager.ErrNotFound) {
			t.Errorf("second Remove: %v", err)
		}
		if v, ok, err := again.Get(ctx, "a"); v != 1 || !ok || err != nil {
			t.Error("after Remove, with a handle:", v, ok, err)
		}
		again.Close()
		objects(t, m, 0)
	})
}

func TestNamedTypes(t *testing.T) {
	m := start(t, manager.Options{})
	type point struct{ X, Y int }
	d, err := manager.OpenDict[string, point](m, "d")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	type same struct{ X, Y int }
	if _, err := manager.OpenDict[string, same](m, "d"); err != nil {
		t.Errorf("a type of the same layout: %v", err)
	}
	type other struct{ X, Z int }
	_, err1 := manager.OpenDict[string, other](m, "d")
	_, err2 := manager.OpenDict[int, point](m, "d")
	_, err3 := manager.OpenList[point](m, "d")
	for i, err := range []error{err1, err2, err3} {
		if !errors.Is(err, manager.ErrType) {
			t.Errorf("%d: %v, want ErrType", i, err)
		}
	}
	for _, name := range []string{"", strings.Repeat("x", 256)} {
		if _, err := manager.OpenDict[string, int](m, name); err == nil {
			t.Errorf("name of %d bytes: accepted", len(name))
		}
	}
	type hidden struct {
		X int
		_ int
	}
	_, err1 = manager.NewDict[hidden, int](m)
	_, err2 = manager.NewDict[*int, int](m)
	_, err3 = manager.NewDict[any, int](m)
	for i, err := range []error{err1, err2, err3} {
		if err == nil {
			t.Errorf("key type %d was accepted", i)
		}
	}
}

type updater struct {
	D     *manager.Dict[string, int]
	Ready *manager.List[string]
}

var stuckInUpdate = process.Register(func(ctx context.Context, u updater) error {
	_, err := u.D.Update(ctx, "k", func(v int, ok bool) (int, error) {
		u.Ready.Append(ctx, "in")
		select {}
	})
	return err
})

func TestUpdate(t *testing.T) {
	ctx := testContext(t)
	m := start(t, manager.Options{})
	d, err := manager.NewDict[string, int](m)
	if err != nil {
		t.Fatal(err)
	}
	ready, err := manager.NewList[string](m)
	if err != nil {
		t.Fatal(err)
	}
	value := func(want int) {
		t.Helper()
		if v, _, err := d.Get(ctx, "k"); v != want || err != nil {
			t.Errorf("the value is %d, %v, want %d", v, err, want)
		}
	}
	free := func() {
		t.Helper()
		if s, err := m.Stats(ctx); s.Updating != 0 || err != nil {
			t.Errorf("%d keys are being updated, %v", s.Updating, err)
		}
	}
	d.Set(ctx, "k", 1)
	t.Run("an error changes nothing", func(t *testing.T) {
		mine := errors.New("mine")
		if _, err := d.Update(ctx, "k", func(int, bool) (int, error) { return 9, mine }); err != mine {
			t.Errorf("Update = %v", err)
		}
		value(1)
		free()
	})
	t.Run("nor does a panic", func(t *testing.T) {
		func() {
			defer func() {
				if recover() != "mine" {
					t.Error("the panic is lost")
				}
			}()
			d.Update(ctx, "k", func(int, bool) (int, error) { panic("mine") })
		}()
		value(1)
		free()
	})
	t.Run("nor a ctx that ends in it", func(t *testing.T) {
		cctx, cancel := context.WithCancel(ctx)
		_, err := d.Update(cctx, "k", func(int, bool) (int, error) { cancel(); return 9, nil })
		if err != context.Canceled {
			t.Errorf("Update = %v", err)
		}
		value(1)
		free()
	})
	t.Run("it waits, and ctx ends the wait", func(t *testing.T) {
		_, err := d.Update(ctx, "k", func(v int, _ bool) (int, error) {
			done := make(chan error)
			go func() { // not by the same goroutine, which would be refused
				short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
				defer cancel()
				_, err := d.Update(short, "k", func(int, bool) (int, error) { return 9, nil })
				if err != context.DeadlineExceeded {
					t.Errorf("Update during Update = %v", err)
				}
				if err := d.Set(short, "k", 9); err != context.DeadlineExceeded {
					t.Errorf("Set during Update = %v", err)
				}
				done <- d.Set(ctx, "other", 1)
			}()
			if err := <-done; err != nil {
				t.Error(err)
			}
			value(1) // reads do not wait
			return v + 1, nil
		})
		if err != nil {
			t.Error(err)
		}
		value(2)
		free()
	})
	t.Run("from within itself", func(t *testing.T) {
		_, err := d.Update(ctx, "k", func(v int, _ bool) (int, error) {
			_, err := d.Update(ctx, "k", func(int, bool) (int, error) { return 9, nil })
			_, derr := d.Delete(ctx, "k")
			for i, err := range []error{err, derr, d.Set(ctx, "k", 9), d.BatchSet(ctx, map[string]int{"a": 1, "k": 9})} {
				if !errors.Is(err, manager.ErrDeadlock) {
					t.Errorf("%d: %v, want ErrDeadlock", i, err)
				}
			}
			return v, d.Set(ctx, "fine", 1)
		})
		if err != nil {
			t.Error(err)
		}
		value(2)
		free()
	})
	t.Run("a process that dies in it", func(t *testing.T) {
		p := run(t, stuckInUpdate, updater{d, ready})
		waitLen(t, ready, 1)
		done := make(chan error, 1)
		go func() {
			_, err := d.Update(ctx, "k", func(v int, _ bool) (int, error) { return v + 1, nil })
			done <- err
		}()
		p.Kill()
		if err := <-done; err != nil {
			t.Error(err)
		}
		value(3)
		free()
	})
	t.Run("a process that dies waiting", func(t *testing.T) {
		_, err := d.Update(ctx, "k", func(v int, _ bool) (int, error) {
			p := run(t, workShared, shared{Counts: d, Lines: ready, N: 1, M: m})
			p.Kill()
			<-p.Done()
			return v + 1, nil
		})
		if err != nil {
			t.Error(err)
		}
		value(4)
		free()
	})
}

// serverOf finds the server process that was started last.
func serverOf(t *testing.T) *process.Process {
	t.Helper()
	var server *process.Process
	for _, p := range process.Children() {
		if strings.HasPrefix(p.Name, "Manager-") && p.Alive() && (server == nil || p.PID() > server.PID()) {
			server = p
		}
	}
	if server == nil {
		t.Fatal("no server process")
	}
	return server
}

func TestServerKilled(t *testing.T) {
	t.Run("rings", func(t *testing.T) { testServerKilled(t, false) })
	t.Run("socket", func(t *testing.T) { testServerKilled(t, true) })
}

func testServerKilled(t *testing.T, noRings bool) {
	m, err := manager.Start(manager.Options{NoRings: noRings})
	if err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	s := newShared(t, m, 1<<30)
	inner, _ := manager.NewList[int](m)
	s.Nested.Set(ctx, "inner", inner)
	child := run(t, workShared, s) // updates for ever
	const callers = 8
	errs := make(chan error, callers)
	begun := make(chan struct{}, callers)
	for i := range callers {
		go func() {
			var err error
			for n := 0; err == nil; n++ {
				if n == 10 {
					begun <- struct{}{}
				}
				if i%2 == 0 {
					_, err = s.Counts.Update(ctx, "n", func(v int, _ bool) (int, error) { return v + 1, nil })
				} else {
					err = s.Lines.Append(ctx, "x")
				}
			}
			errs <- err
		}()
	}
	for range callers {
		<-begun
	}
	killed := time.Now()
	serverOf(t).Kill()
	for range callers {
		err := <-errs
		if !errors.Is(err, manager.ErrDown) {
			t.Errorf("a call under way: %v, want ErrDown", err)
		}
		var exit *process.ExitError
		if !errors.As(err, &exit) || exit.Signal != syscall.SIGKILL {
			t.Errorf("the error does not say how the server died: %v", err)
		}
		if !strings.Contains(err.Error(), m.Addr().String()) {
			t.Errorf("the error does not say where the server was: %v", err)
		}
	}
	if d := time.Since(killed); d > 2*time.Second {
		t.Errorf("the last call took %v to fail", d)
	}
	if err := child.Join(ctx); err == nil || !strings.Contains(err.Error(), "server is down") {
		t.Errorf("the child ended with %v", err)
	}
	for name, err := range map[string]error{
		"Set":   s.Counts.Set(ctx, "a", 1),
		"Stats": func() error { _, err := m.Stats(ctx); return err }(),
		"New":   func() error { _, err := manager.NewList[int](m); return err }(),
		"Start of a child with a handle": func() error {
			return process.New(workShared, s).Start()
		}(),
	} {
		if !errors.Is(err, manager.ErrDown) {
			t.Errorf("%s after the server's death: %v", name, err)
		}
	}
	dir := filepath.Dir(m.Addr().String())
	m.Close()
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket's directory is still there: %v", err)
	}
}

func TestServerStopped(t *testing.T) {
	m := start(t, manager.Options{})
	l, err := manager.NewList[[]byte](m)
	if err != nil {
		t.Fatal(err)
	}
	pid := serverOf(t).PID()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// Far more than the socket's buffers take.
	big := make([]byte, 256<<10)
	var took []time.Duration
	for range 40 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		begun := time.Now()
		err := l.Append(ctx, big)
		cancel()
		if err != context.DeadlineExceeded {
			t.Fatalf("Append to a stopped server: %v", err)
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	if median := took[len(took)/2]; median > 100*time.Millisecond {
		t.Errorf("deadlines were obeyed after %v", took)
	}
	syscall.Kill(pid, syscall.SIGCONT)
	ctx := testContext(t)
	if err := l.Append(ctx, []byte("after")); err != nil {
		t.Fatal(err)
	}
	if v, err := l.Get(ctx, -1); string(v) != "after" || err != nil {
		t.Errorf("Get = %d bytes, %v", len(v), err)
	}
}

func TestShutdown(t *testing.T) {
	m, err := manager.Start(manager.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ctx := testContext(t)
	d, err := manager.NewDict[string, int](m)
	if err != nil {
		t.Fatal(err)
	}
	server := serverOf(t)
	waiting := make(chan error, 1)
	d.Update(ctx, "k", func(int, bool) (int, error) {
		go func() { waiting <- d.Set(ctx, "k", 1) }()
		for s, err := m.Stats(ctx); ; s, err = m.Stats(ctx) {
			if err != nil || s.Updating == 1 {
				break
			}
		}
		if err := m.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		return 0, nil
	})
	if err := <-waiting; !errors.Is(err, manager.ErrDown) {
		t.Errorf("a waiting call: %v", err)
	}
	if err := d.Set(ctx, "a", 1); !errors.Is(err, manager.ErrDown) {
		t.Errorf("a later call: %v", err)
	}
	if err := server.Join(ctx); err != nil {
		t.Errorf("the server ended with %v", err)
	}
}

type ownerJob struct {
	Addr *manager.List[string]
}

// own starts a manager of its own, says where it is, and does not end.
var own = process.Register(func(ctx context.Context, j ownerJob) error {
	m, err := manager.Start(manager.Options{})
	if err != nil {
		return err
	}
	defer m.Close()
	if err := j.Addr.Append(ctx, m.Addr().String()); err != nil {
		return err
	}
	select {}
})

// A server ends with the process that started it, however that ends, and leaves no files.
func TestServerEndsWithItsOwner(t *testing.T) {
	ctx := testContext(t)
	m := start(t, manager.Options{})
	for _, test := range []struct {
		name string
		end  func(p *process.Process) error
	}{
		{"killed", (*process.Process).Kill},
		{"terminated", func(p *process.Process) error { p.Grace = 0; return p.Terminate() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, err := manager.NewList[string](m)
			if err != nil {
				t.Fatal(err)
			}
			p := process.New(own, ownerJob{l})
			p.Grace = time.Millisecond
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			waitLen(t, l, 1)
			addr, err := l.Get(ctx, 0)
			if err != nil {
				t.Fatal(err)
			}
			other, err := manager.Connect(ctx, "unix", addr, manager.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			test.end(p)
			for err == nil {
				_, err = other.Stats(ctx)
			}
			if !errors.Is(err, manager.ErrDown) {
				t.Errorf("a client of it: %v", err)
			}
			for {
				if _, err := os.Stat(filepath.Dir(addr)); errors.Is(err, fs.ErrNotExist) {
					break
				}
				if ctx.Err() != nil {
					t.Fatal("its directory is still there")
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
}

func TestServerTerminated(t *testing.T) {
	m := start(t, manager.Options{})
	ctx := testContext(t)
	server := serverOf(t)
	if err := server.Terminate(); err != nil {
		t.Fatal(err)
	}
	var err error
	for err == nil {
		_, err = m.Stats(ctx)
	}
	if !errors.Is(err, manager.ErrDown) || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("a call: %v", err)
	}
	if err := server.Join(ctx); err != nil {
		t.Errorf("the server ended with %v", err)
	}
}

var inherited = process.Inherit[*manager.List[string]](nil)

var useInherited = process.Register(func(ctx context.Context, _ struct{}) error {
	return inherited.Get().Append(ctx, "from the child")
})

func TestInheritedHandle(t *testing.T) {
	ctx := testContext(t)
	l, err := manager.NewList[string](start(t, manager.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	inherited.Set(l)
	defer inherited.Set(nil)
	p := process.New(useInherited, struct{}{})
	p.Method = process.Fork
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	join(t, p)
	if v, err := l.Get(ctx, -1); v != "from the child" || err != nil {
		t.Errorf("Get = %q, %v", v, err)
	}
}

var connectAsNobody = process.Register(func(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m, err := manager.Connect(ctx, "unix", path, manager.Options{})
	if err == nil {
		m.Close()
		return errors.New("let in")
	}
	if !errors.Is(err, manager.ErrDown) || errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("refused by the file's mode and not by the server: %w", err)
	}
	return nil
})

// Another user is not let in, even where the socket's mode would.
func TestOtherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can run a child as another user")
	}
	path := serve(t, manager.Options{})
	for name, mode := range map[string]fs.FileMode{path: 0o777, filepath.Dir(path): 0o777} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	p := process.New(connectAsNobody, path)
	p.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	p.Dir = "/"
	if err := p.Start(); err != nil {
		t.Skip("cannot run a child as another user here: ", err)
	}
	join(t, p)
}

func TestLargeValue(t *testing.T) {
	ctx := testContext(t)
	m := start(t, manager.Options{MaxMessage: 20 << 20})
	d, err := manager.NewDict[string, []byte](m)
	if err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 19<<20)
	big[len(big)-1] = 7
	if err := d.Set(ctx, "big", big); err != nil {
		t.Fatal(err)
	}
	got, ok, err := d.Get(ctx, "big")
	if len(got) != len(big) || !ok || err != nil || got[len(got)-1] != 7 {
		t.Errorf("Get = %d bytes, %v, %v", len(got), ok, err)
	}
	if s, err := d.Snapshot(ctx); len(s["big"]) != len(big) || err != nil {
		t.Errorf("Snapshot has %d bytes, %v", len(s["big"]), err)
	}
	if err := d.Set(ctx, "bigger", make([]byte, 21<<20)); !errors.Is(err, manager.ErrTooLarge) {
		t.Errorf("Set of more than the limit: %v", err)
	}
	if n, err := d.Len(ctx); n != 1 || err != nil {
		t.Errorf("Len = %d, %v", n, err)
	}
}

// A value of 1 GB goes to the server and back, over rings, and with MULTIPROC_SOAK over the socket. Client and server take up to 3 GB each meanwhile: the value, its
// encoding, and while that arrives a buffer that grows.
func TestHugeValue(t *testing.T) {
	if testing.Short() {
		t.Skip("takes gigabytes")
	}
	size := 1 << 30
	if detector.Enabled {
		size = 1 << 27 // it looks at each byte
	}
	needsMemory(t, 6*uint64(size))
	for _, noRings := range []bool{false, true} {
		t.Run(fmt.Sprintf("rings %v", !noRings), func(t *testing.T) {
			if noRings && os.Getenv("MULTIPROC_SOAK") == "" {
				t.Skip("takes long: set MULTIPROC_SOAK")
			}
			debug.FreeOSMemory()
			defer debug.FreeOSMemory()
			// Getting these gigabytes from a kernel that is short of them takes ten times as long as using them.
			ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
			defer cancel()
			o := manager.Options{MaxMessage: size + 1<<20, NoRings: noRings}
			m := start(t, o)
			d, err := manager.NewDict[string, []byte](m)
			if err != nil {
				t.Fatal(err)
			}
			big := make([]byte, size)
			for i := 0; i < size; i += 4096 {
				big[i] = byte(i >> 12)
			}
			began := time.Now()
			if err := d.Set(ctx, "big", big); err != nil {
				t.Fatal(err)
			}
			set := time.Since(began)
			got, _, err := d.Get(ctx, "big")
			if err != nil || !bytes.Equal(got, big) {
				t.Fatalf("Get: %d bytes, %v", len(got), err)
			}
			t.Logf("set in %v, got in %v", set, time.Since(began)-set)
		})
	}
}

// needsMemory skips the test where less is available.
func needsMemory(t *testing.T, n uint64) {
	t.Helper()
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(info)) {
		var kib uint64
		if k, _ := fmt.Sscanf(line, "MemAvailable: %d", &kib); k == 1 && kib<<10 < n {
			t.Skipf("needs %d MiB of memory, and %d are available", n>>20, kib>>10)
		}
	}
}
