package manager

import (
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/store"
	"github.com/go-multiproc/multiproc/process"
)

// SetHelloTime shortens the patience with peers that do not introduce themselves, until the test's end.
func SetHelloTime(d time.Duration) (restore func()) {
	old := helloTime.Swap(int64(d))
	return func() { helloTime.Store(old) }
}

// TuneJournal has servers that are started until the test's end make snapshots all the time.
func TuneJournal(t testing.TB, compactSize int64, pause time.Duration, reserve int64) {
	old := tuned
	tuned = tuning{compactSize, pause, reserve}
	t.Cleanup(func() { tuned = old })
}

// ServerProcess returns the process of a server that Start has started.
func ServerProcess(m *Manager) *process.Process { return m.state.Load().owned.process }

// Connections is the number of this process's connections to servers.
func Connections() int {
	clients.mu.Lock()
	defer clients.mu.Unlock()
	return len(clients.m)
}

// FeedServer lets a new session of a new server do requests, one for each payload, and returns the bytes that it
// would send.
func FeedServer(payloads [][]byte) (sent []byte, err error) {
	st := store.New(store.Options{})
	defer st.Close()
	conn := new(scriptedConn)
	sv := &server{store: st, stopping: make(chan struct{}), stop: func(string) {}}
	s := sv.newSession(conn)
	s.store = st.NewSession()
	for _, p := range payloads {
		if err = s.request(p); err != nil {
			break
		}
	}
	s.cancel()
	s.work.Wait()
	s.flush()
	s.store.End()
	return conn.written, err
}

// ReadHellos reads both hellos.
func ReadHellos(b []byte) {
	readClientHello(b)
	readServerHello(b)
}

// scriptedConn is a connection that yields fixed bytes and then ends, and keeps what it is given.
type scriptedConn struct {
	net.Conn // panics where nothing is expected
	rest     []byte
	mu       sync.Mutex
	written  []byte
}

func (c *scriptedConn) Read(b []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *scriptedConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written = append(c.written, b...)
	return len(b), nil
}

func (c *scriptedConn) Close() error                    { return nil }
func (c *scriptedConn) SetReadDeadline(time.Time) error { return nil }

// A ScriptedClient has handles to objects 1, 2 and 3 of a server that says what it says whatever it is asked.
type ScriptedClient struct {
	Manager *Manager
	Dict    *Dict[string, any]
	Lists   *List[*List[int]]
	Strings *Dict[int, []string]
}

// Scripted returns a client whose server says b.
func Scripted(b []byte) ScriptedClient {
	c := &client{
		target:    target{network: "unix", address: "/scripted", max: 1 << 20},
		ready:     make(chan struct{}),
		lead:      make(chan struct{}, 1),
		cancel:    func() {},
		users:     1,
		pending:   map[uint64]*call{},
		objects:   map[store.ID]*remote{},
		updates:   map[leased]uint64{},
		lifelines: map[*os.File]struct{}{},
		stream:    newStream(&scriptedConn{rest: b}, 1<<20+envelope),
		server:    serverHello{version: version, max: 1 << 20},
		connected: true,
	}
	close(c.ready)
	s := ScriptedClient{new(Manager), new(Dict[string, any]), new(List[*List[int]]), new(Dict[int, []string])}
	s.Manager.attach(c, nil)
	attach(s.Dict, &s.Dict.h, c.adopt(1, 1))
	attach(s.Lists, &s.Lists.h, c.adopt(2, 1))
	attach(s.Strings, &s.Strings.h, c.adopt(3, 1))
	return s
}

// OnRings reports whether m's connection goes through shared memory.
func OnRings(m *Manager) bool { return m.state.Load().client.stream.rings != nil }

// A WatchedServer is a server in this process of which a test can know how many calls wait.
type WatchedServer struct{ sv *server }

// WatchServer makes a server of a listener.
func WatchServer(l net.Listener, o Options) (WatchedServer, error) {
	sv, err := newServer(l, o, tuning{})
	return WatchedServer{sv}, err
}

// Run is Serve.
func (s WatchedServer) Run() error { return s.sv.run() }

// Waiting is how many calls wait for other clients, other than for keys.
func (s WatchedServer) Waiting() int { return s.sv.store.Stats().Waiting }

// ForgetType has this program not have a type.
func ForgetType(name string) (restore func()) {
	ownTypes.Lock()
	defer ownTypes.Unlock()
	o := ownTypes.byName[name]
	delete(ownTypes.byName, name)
	return func() {
		ownTypes.Lock()
		defer ownTypes.Unlock()
		ownTypes.byName[name] = o
	}
}

// Operations are the numbers of all operations.
func Operations() (ops []int) {
	for op := range operations {
		if operations[op].do != nil {
			ops = append(ops, op)
		}
	}
	return ops
}

// Codes are the numbers of all errors that a server says.
func Codes() (codes []uint64) {
	for _, f := range failures {
		codes = append(codes, f.code)
	}
	return append(codes, codeUnregistered)
}

// SwapTypes gives each of two registered types the other one's name.
func SwapTypes(a, b string) {
	ownTypes.Lock()
	defer ownTypes.Unlock()
	x, y := ownTypes.byName[a], ownTypes.byName[b]
	x.name, y.name = b, a
	ownTypes.byName[a], ownTypes.byName[b] = y, x
}

// MakeDurable does what Type.Durable does, before process.Main began.
func MakeDurable[T any]() { newDurable[T]("refused") }
