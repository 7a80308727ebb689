package manager

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the settings of a server, and of a connection to one. The zero value works.
type Options struct {
	// Network is "unix" or "tcp". Empty is "unix". Start alone uses it.
	Network string

	// Address is the path of the Unix socket, or host:port, where port 0 is any that is free. Empty is a socket of a
	// new private directory; for TCP it is refused. Start alone uses it.
	Address string

	// AuthKey is what both sides must know. TCP is refused without one. On a Unix socket, which lets only
	// this user and root in, it may be nil.
	AuthKey []byte

	// MaxMessage is the largest request or reply in bytes: what a server takes, or a client takes from a server that would
	// send more. 0 is 256 MiB. Memory is taken as a message arrives, so that a large limit costs nothing. One request has at most a sixteenth as many
	// items (keys, values, …), and no value grows beyond a message.
	MaxMessage int

	// Path is a directory in which the server keeps everything that has a name, and what that mentions, so that a server which is
	// started with the same path later, after a Shutdown or a kill -9, goes on where the other one ended. It is made if it is missing. One
	// server has it at a time. "" keeps nothing.
	//
	// What objects of own types (Register) have in them is kept if the type is Durable; others are there again, and as new. So are locks, semaphores, events and barriers.
	Path string

	// Sync says what a power cut may take away of what is kept at Path. A kill of the server takes nothing, whatever it says. The zero value is SyncEachSecond.
	Sync Sync

	// MaxObjects, MaxEntries and MaxMemory bound what a server holds: objects, entries of all containers together, and bytes of memory that it all
	// takes, about. Who would make it more gets ErrLimit; at MaxEntries that goes for every call that might add as many entries as would be too many. 0 is no limit.
	MaxObjects int
	MaxEntries int
	MaxMemory  int64
	// TLS, if not nil, is used on TCP: by a server with its Certificates, by a client as package tls says. The key is still needed. A server
	// that Start starts is passed Certificates, MinVersion and MaxVersion, and its clients, this process included, know it by the first of these certificates; so do
	// processes that are sent a handle. On Unix sockets it is not used.
	TLS *tls.Config `cbor:"-"`

	// AllowUIDs are users whose processes are let in on a Unix socket, beside this user and root: children with other credentials, say. Start then makes
	// the socket one that everybody can reach, and the server turns away whom it does not know; Serve uses the listener as it is.
	AllowUIDs []int

	// MaxConnections bounds the connections of a server. Who comes too late gets ErrLimit. 0 is no limit but the descriptors that the
	// process may have: then the others wait until one is free. Connections that have not introduced themselves are bounded in any case, at 512, or by the descriptors: the oldest goes.
	MaxConnections int

	// HelloTimeout is how long a server waits for a client to introduce itself. 0 is ten seconds.
	HelloTimeout time.Duration

	// MaxWaiting bounds the calls of one connection that wait for somebody else, or run a method of an own type, and MaxBuffered the bytes of their requests. Calls beyond that get
	// ErrLimit. 0 is 16,384, and as much as MaxMessage. MaxBuffered bounds also, each for itself, and from 1 MiB on: what the connection has begun and not ended (updates
	// of keys, watches, snapshots that are being read, handles on their way; about a million in any case), messages of queues that it got and has not said to have arrived, and
	// replies to calls that waited which it does not read. What else a connection may cost is a message that it is sending, with some dozens of bytes for each of its items, one that it
	// is not reading, and some 700 KiB of buffers, rings included. What a snapshot shows, and is there no more, stays until it was read.
	MaxWaiting  int
	MaxBuffered int

	// NoRings keeps a connection on its Unix socket, where it would move to rings in shared memory: a client does not ask for
	// them, or a server offers none. A call then takes several times as long.
	NoRings bool

	// RingSize is the size in bytes of each of the two rings that a server gives a client, rounded up to a power of two. 0 is 64 KiB. Larger messages
	// flow through. Memory is taken as it is first used.
	RingSize int
}

// check refuses what cannot be meant: taken as a limit a negative number would be none.
func (o Options) check() error {
	for _, f := range [...]struct {
		name  string
		value int64
	}{
		{"MaxMessage", int64(o.MaxMessage)}, {"MaxObjects", int64(o.MaxObjects)}, {"MaxEntries", int64(o.MaxEntries)}, {"MaxMemory", o.MaxMemory},
		{"MaxConnections", int64(o.MaxConnections)}, {"HelloTimeout", int64(o.HelloTimeout)}, {"MaxWaiting", int64(o.MaxWaiting)}, {"MaxBuffered", int64(o.MaxBuffered)},
		{"RingSize", int64(o.RingSize)},
	} {
		if f.value < 0 {
			return fmt.Errorf("manager: Options.%s is %d: it cannot be negative, and 0 is the default: %w", f.name, f.value, fs.ErrInvalid)
		}
	}
	if o.Sync < SyncEachSecond || o.Sync > SyncNever {
		return fmt.Errorf("manager: Options.Sync is %d: there are SyncEachSecond, SyncAlways and SyncNever: %w", o.Sync, fs.ErrInvalid)
	}
	return nil
}

const defaultMaxMessage = 256 << 20

func (o Options) maxMessage() int {
	if o.MaxMessage <= 0 {
		return defaultMaxMessage
	}
	// Lengths are 31 bits wide, and a reply may be a little longer than a request.
	return max(min(o.MaxMessage, 1<<31-1-envelope), 4<<10)
}

// maxItems is how many items a request has at most. One can be a byte, and takes some dozens of them while it is worked on.
func (o Options) maxItems() int { return max(o.maxMessage()/16, 1<<10) }

// A Manager is this process's connection to a server. It is safe for concurrent use, and crosses to other
// processes in arguments and messages. An unreachable one closes itself, but does not shut its server down.
type Manager struct {
	addr    net.Addr
	state   atomic.Pointer[connection]
	cleanup runtime.Cleanup
}

// A connection is what a Manager holds until it is closed.
type connection struct {
	client *client
	owned  *serverProcess // the server that Start started; nil for all others
	once   sync.Once
}

func (m *Manager) attach(c *client, owned *serverProcess) {
	m.addr = c.target.addr()
	m.cleanup = runtime.AddCleanup(m, func(c *client) { c.dropUser() }, c)
	m.state.Store(&connection{client: c, owned: owned})
}

var closedConnection = new(connection)

func (m *Manager) use() (*client, error) {
	switch s := m.state.Load(); s {
	case nil:
		return nil, errors.New("manager: use of a zero Manager: make one with Start or Connect")
	case closedConnection:
		return nil, fmt.Errorf("manager: use of a closed Manager: %w", fs.ErrClosed)
	default:
		return s.client, nil
	}
}

// Connect connects to the server at a Unix socket's path ("unix") or at host:port ("tcp", which needs
// Options.AuthKey). Connections are shared: a second Connect to the same address with the same key uses the first one's.
// If nobody answers there the error is ErrDown, with the cause; if the key is another one, it is also ErrAuth. If ctx ends first, the error has
// ctx's in it ([errors.Is]) and says how far the connection had come.
func Connect(ctx context.Context, network, address string, o Options) (*Manager, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	t, err := newTarget(network, address, o)
	if err != nil {
		return nil, err
	}
	for {
		c, old := share(t, nil)
		shared := old && c.isReady()
		err := c.waitReady(ctx)
		if err == nil && shared {
			// The connection may have ended while nobody looked.
			err = c.ping(ctx)
			if errors.Is(err, ErrDown) {
				c.dropUser()
				continue
			}
		}
		if err != nil {
			c.dropUser()
			return nil, err
		}
		m := new(Manager)
		m.attach(c, nil)
		return m, nil
	}
}

func (c *client) ping(ctx context.Context) error {
	cl := newCall(opPing)
	if _, err := c.do(ctx, cl); err != nil {
		return err
	}
	cl.free()
	return nil
}

// Addr returns the server's address, also after Close.
func (m *Manager) Addr() net.Addr { return m.addr }

func (t target) addr() net.Addr {
	if t.network == "unix" {
		return &net.UnixAddr{Name: t.address, Net: "unix"}
	}
	return tcpAddr(t.address)
}

// tcpAddr is an address that need not be one of numbers.
type tcpAddr string

func (tcpAddr) Network() string  { return "tcp" }
func (a tcpAddr) String() string { return string(a) }

// Remove takes the name away from the object that has it. The object lives on while there are handles to it. If there is no
// such name the error is ErrNotFound.
func (m *Manager) Remove(ctx context.Context, name string) error {
	c, err := m.use()
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(m)
	cl := newCall(opRemove).text(name)
	rep, err := c.do(ctx, cl)
	if err != nil {
		return err
	}
	defer cl.free()
	return rep.close()
}

// Shutdown has the server end, whoever started it, and waits until it has said that it will; if this Manager is what Start
// returned, until its process has ended. All objects are gone then, and calls under way, in every process, end with ErrDown.
// m is still to be closed.
func (m *Manager) Shutdown(ctx context.Context) error {
	c, err := m.use()
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(m)
	cl := newCall(opShutdown)
	rep, err := c.do(ctx, cl)
	if err != nil {
		return err
	}
	err = rep.close()
	cl.free()
	if s := m.state.Load(); err == nil && s != nil && s.owned != nil {
		err = s.owned.wait(ctx)
	}
	return err
}

// Close lets go of the connection. If it is that of the Manager that Start returned, the server is shut down first, and killed if
// it does not end within five seconds. Handles to objects of another's server keep working: they hold the connection themselves. It is safe to call twice.
func (m *Manager) Close() error {
	s := m.state.Load()
	if s == nil || s == closedConnection {
		return nil
	}
	var err error
	s.once.Do(func() {
		if s.owned != nil {
			err = s.owned.close(s.client)
		}
		m.state.Store(closedConnection)
		m.cleanup.Stop()
		if s.client.dropUser() {
			s.client.work.Wait()
		}
	})
	return err
}
