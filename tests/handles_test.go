package tests_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/queue"
	"github.com/go-multiproc/multiproc/shm"
	"github.com/go-multiproc/multiproc/value"
)

// A parcel holds one handle of every kind at several depths, among plain data.
type parcel struct {
	Label string
	Rooms map[string]*room
	Crate struct {
		Segments []*shm.Segment
		Mutex    *psync.Mutex
		FileLock *psync.FileLock
		Permits  *psync.Semaphore
		RWMutex  *psync.RWMutex
		Queue    *queue.Queue[string]
	}
	Nothing *value.Value[int64] // a nil handle stays nil
	Reply   *pipe.Conn
}

type room struct {
	Numbers []*value.Value[int64]
	Array   *array.Array[float64]
	Files   [2]*os.File
	Door    net.Listener
	Line    net.Conn
	Dict    *manager.Dict[string, int]
	List    *manager.List[string]
}

// unpack uses everything in the parcel, each in a way that the parent can see.
var unpack = process.Register(func(ctx context.Context, p parcel) error {
	if p.Nothing != nil {
		return errors.New("a nil handle arrived as something")
	}
	r := p.Rooms["first"]
	if p.Rooms["second"] != nil || r == nil || p.Label != "fragile" {
		return fmt.Errorf("the plain data is wrong: %+v", p)
	}
	for i, n := range r.Numbers {
		value.Add(n, int64(i+1))
	}
	r.Array.Store(2, 2.5)
	for i, f := range r.Files {
		if _, err := fmt.Fprintf(f, "file %d", i); err != nil {
			return err
		}
	}
	copy(p.Crate.Segments[0].Bytes(), "segment")
	if ok, err := p.Crate.Mutex.TryLock(); err != nil || ok {
		return fmt.Errorf("TryLock of what the parent holds: %t, %w", ok, err)
	}
	if ok, err := p.Crate.FileLock.TryLock(); err != nil || ok {
		return fmt.Errorf("TryLock of the file lock that the parent holds: %t, %w", ok, err)
	}
	if ok, err := p.Crate.Permits.TryAcquire(); err != nil || ok {
		return fmt.Errorf("TryAcquire of the permit that the parent has: %t, %w", ok, err)
	}
	if ok, err := p.Crate.RWMutex.TryLock(); err != nil || ok {
		return fmt.Errorf("TryLock of what the parent reads: %t, %w", ok, err)
	}
	if err := errors.Join(p.Crate.RWMutex.RLock(ctx), p.Crate.RWMutex.RUnlock()); err != nil {
		return err
	}
	if err := p.Crate.Queue.Put(ctx, "queued"); err != nil {
		return err
	}
	if err := r.Dict.Set(ctx, "answer", 42); err != nil {
		return err
	}
	if err := r.List.Append(ctx, "from", "the", "child"); err != nil {
		return err
	}
	if _, err := r.Line.Write([]byte("line")); err != nil {
		return err
	}
	if err := p.Reply.Send("ready"); err != nil {
		return err
	}
	visitor, err := r.Door.Accept()
	if err != nil {
		return err
	}
	defer visitor.Close()
	_, err = visitor.Write([]byte("come in"))
	return err
})

// Handles of every kind cross together, at any depth, and are the same objects there.
func TestHandlesOfEveryKindCross(t *testing.T) {
	for _, method := range []struct {
		name   string
		method process.Method
	}{{"spawn", process.Spawn}, {"fork", process.Fork}, {"forkserver", process.ForkServer}} {
		t.Run(method.name, func(t *testing.T) { testHandles(t, method.method) })
	}
}

func testHandles(t *testing.T, method process.Method) {
	ctx := t.Context()
	dir := t.TempDir()
	m := must(manager.Start(manager.Options{}))(t)
	t.Cleanup(func() { m.Shutdown(context.Background()) })

	zero, hundred := must(value.New[int64](0))(t), must(value.New[int64](100))(t)
	door := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	t.Cleanup(func() { door.Close() })
	line, childsLine := connected(t)
	mine, childs, err := pipe.NewOneWay()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mine.Close() })

	r := &room{
		Numbers: []*value.Value[int64]{zero, hundred, zero}, // the same one twice
		Array:   must(array.New[float64](3))(t),
		Files:   [2]*os.File{create(t, dir, "0"), create(t, dir, "1")},
		Door:    door,
		Line:    childsLine,
		Dict:    must(manager.NewDict[string, int](m))(t),
		List:    must(manager.NewList[string](m))(t),
	}
	p := parcel{Label: "fragile", Rooms: map[string]*room{"first": r, "second": nil}, Reply: childs}
	p.Crate.Segments = []*shm.Segment{must(shm.New(100))(t)}
	p.Crate.Mutex = must(psync.NewMutex())(t)
	p.Crate.FileLock = must(psync.NewFileLock(filepath.Join(dir, "lock")))(t)
	p.Crate.Permits = must(psync.NewSemaphore(1))(t)
	p.Crate.RWMutex = must(psync.NewRWMutex())(t)
	p.Crate.Queue = must(queue.New[string](queue.Options{}))(t)
	if err := errors.Join(p.Crate.Permits.Acquire(t.Context()), p.Crate.RWMutex.RLock(t.Context())); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(p.Crate.Permits.Release(), p.Crate.RWMutex.RUnlock()); err != nil {
			t.Error(err)
		}
	}()
	for _, l := range []psync.Locker{p.Crate.Mutex, p.Crate.FileLock} {
		if err := l.Lock(ctx); err != nil {
			t.Fatal(err)
		}
	}

	child := process.New(unpack, p)
	child.Method = method
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var word string
	if err := mine.Recv(&word); err != nil {
		t.Fatalf("%v; the child: %v", err, child.Join(ctx))
	}
	visitor, err := net.Dial("tcp", door.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer visitor.Close()
	if said, err := io.ReadAll(visitor); string(said) != "come in" || err != nil {
		t.Errorf("at the door the child says %q, %v", said, err)
	}
	if err := child.Join(ctx); err != nil {
		t.Fatal(err)
	}

	if zero.Load() != 4 || hundred.Load() != 102 {
		t.Errorf("values are %d and %d, want 4 and 102", zero.Load(), hundred.Load())
	}
	if r.Array.Load(2) != 2.5 {
		t.Errorf("array is %v", r.Array.Slice())
	}
	for i, f := range r.Files {
		if b, err := os.ReadFile(f.Name()); string(b) != fmt.Sprintf("file %d", i) || err != nil {
			t.Errorf("file %d has %q, %v", i, b, err)
		}
		if _, err := f.WriteString("!"); err != nil { // the sender's copy stays open
			t.Error(err)
		}
	}
	if b := p.Crate.Segments[0].Bytes(); string(b[:7]) != "segment" {
		t.Errorf("segment begins with %q", b[:7])
	}
	if s, ok, err := p.Crate.Queue.TryGet(); s != "queued" || !ok || err != nil {
		t.Errorf("queue has %q, %t, %v", s, ok, err)
	}
	if n, ok, err := r.Dict.Get(ctx, "answer"); n != 42 || !ok || err != nil {
		t.Errorf("dict has %d, %t, %v", n, ok, err)
	}
	if l, err := r.List.Snapshot(ctx); fmt.Sprint(l) != "[from the child]" || err != nil {
		t.Errorf("list is %v, %v", l, err)
	}
	said := make([]byte, 4)
	if _, err := io.ReadFull(line, said); string(said) != "line" || err != nil {
		t.Errorf("the line says %q, %v", said, err)
	}
	for _, l := range []psync.Locker{p.Crate.Mutex, p.Crate.FileLock} {
		if err := l.Unlock(); err != nil {
			t.Errorf("unlocking a %T that the child looked at: %v", l, err)
		}
	}
}

var ignoreParcel = process.Register(func(context.Context, closedParcel) error { return nil })

// A closedParcel holds one handle, of whatever kind.
type closedParcel struct {
	Segment   *shm.Segment
	Value     *value.Value[int64]
	Array     *array.Array[int64]
	Mutex     *psync.Mutex
	RMutex    *psync.RMutex
	RWMutex   *psync.RWMutex
	Semaphore *psync.Semaphore
	Event     *psync.Event
	Cond      *psync.Cond
	Barrier   *psync.Barrier
	Once      *psync.Once
	FileLock  *psync.FileLock
	Queue     *queue.Queue[int]
	Conn      *pipe.Conn
	Dict      *manager.Dict[string, int]
	List      *manager.List[int]
	Set       *manager.Set[string]
	Namespace *manager.Namespace
	MValue    *manager.Value[int]
	MArray    *manager.Array[int]
	MQueue    *manager.Queue[int]
	MMutex    *manager.Mutex
	MRMutex   *manager.RMutex
	MPermits  *manager.Semaphore
	MCond     *manager.Cond
	MEvent    *manager.Event
	MBarrier  *manager.Barrier
	File      *os.File
	Listener  net.Listener
}

// What is closed cannot be passed on: Start says so, and where it stands.
func TestClosedHandlesAreRefused(t *testing.T) {
	m := must(manager.Start(manager.Options{}))(t)
	t.Cleanup(func() { m.Shutdown(context.Background()) })
	a, b, err := pipe.New()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	door := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	parcels := []closedParcel{
		{Segment: must(shm.New(8))(t)},
		{Value: must(value.New[int64](0))(t)},
		{Array: must(array.New[int64](1))(t)},
		{Mutex: must(psync.NewMutex())(t)},
		{RMutex: must(psync.NewRMutex())(t)},
		{RWMutex: must(psync.NewRWMutex())(t)},
		{Semaphore: must(psync.NewSemaphore(1))(t)},
		{Event: must(psync.NewEvent())(t)},
		{Cond: must(psync.NewCond(nil))(t)},
		{Barrier: must(psync.NewBarrier(1))(t)},
		{Once: must(psync.NewOnce())(t)},
		{FileLock: must(psync.NewFileLock(filepath.Join(t.TempDir(), "lock")))(t)},
		{Queue: must(queue.New[int](queue.Options{}))(t)},
		{Conn: a},
		{Dict: must(manager.NewDict[string, int](m))(t)},
		{List: must(manager.NewList[int](m))(t)},
		{Set: must(manager.NewSet[string](m))(t)},
		{Namespace: must(manager.NewNamespace(m))(t)},
		{MValue: must(manager.NewValue(m, 0))(t)},
		{MArray: must(manager.NewArray[int](m, 1))(t)},
		{MQueue: must(manager.NewQueue[int](m))(t)},
		{MMutex: must(manager.NewMutex(m))(t)},
		{MRMutex: must(manager.NewRMutex(m))(t)},
		{MPermits: must(manager.NewSemaphore(m, 1))(t)},
		{MCond: must(manager.NewCond(m, must(manager.NewMutex(m))(t)))(t)},
		{MEvent: must(manager.NewEvent(m))(t)},
		{MBarrier: must(manager.NewBarrier(m, 1))(t)},
		{File: create(t, t.TempDir(), "file")},
		{Listener: door},
	}
	fields := reflect.TypeFor[closedParcel]().NumField()
	if len(parcels) != fields {
		t.Errorf("%d parcels for %d kinds of handles", len(parcels), fields)
	}
	for i, p := range parcels {
		field := reflect.TypeFor[closedParcel]().Field(i).Name
		if err := reflect.ValueOf(p).Field(i).Interface().(io.Closer).Close(); err != nil {
			t.Errorf("%s: %v", field, err)
		}
		err := process.New(ignoreParcel, p).Start()
		if !closedError(err) || !strings.Contains(fmt.Sprint(err), "args."+field) {
			t.Errorf("Start with a closed %s: %v", field, err)
		}
	}
}

// closedError reports whether err is about something that is closed.
func closedError(err error) bool {
	return errors.Is(err, fs.ErrClosed) || errors.Is(err, net.ErrClosed)
}

// must returns a function, so that the two results of a call can be its only argument.
func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := any(v).(io.Closer); ok {
			t.Cleanup(func() { c.Close() })
		}
		return v
	}
}

func create(t *testing.T, dir, name string) *os.File {
	t.Helper()
	return must(os.Create(filepath.Join(dir, name)))(t)
}

// connected makes the two ends of a TCP connection.
func connected(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	dialed := must(net.Dial("tcp", l.Addr().String()))(t)
	return must(l.Accept())(t), dialed
}
