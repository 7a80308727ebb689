package manager

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-multiproc/multiproc/internal/auth"
	"github.com/go-multiproc/multiproc/process"
)

// A target is where a server is and what it takes to be let in.
type target struct {
	network, address string
	key              []byte
	max              int // bytes of a message
	noRings          bool
	tls              *tls.Config // nil: none
	pinned           []byte      // the fingerprint that tls asks for, if that is what it does
}

// targetKey tells connections apart.
type targetKey struct {
	network, address string
	key              [sha256.Size]byte
	max              int
	noRings          bool
	tls              *tls.Config
	pinned           string
}

func (t target) shareKey() targetKey {
	return targetKey{t.network, t.address, sha256.Sum256(t.key), t.max, t.noRings, t.sharedTLS(), string(t.pinned)}
}

// sharedTLS tells configurations apart. Those that ask for a fingerprint are told by that.
func (t target) sharedTLS() *tls.Config {
	if t.pinned != nil {
		return nil
	}
	return t.tls
}

func (t target) String() string { return t.network + " " + t.address }

// newTarget completes and checks what the user said.
func newTarget(network, address string, o Options) (target, error) {
	t := target{network: network, address: address, key: o.AuthKey, max: o.maxMessage(), noRings: o.NoRings}
	switch network {
	case "unix":
		if address == "" {
			return t, errors.New("manager: a unix address needs a path")
		}
		if address[0] == '@' {
			return t, errors.New("manager: abstract sockets are refused: everybody on the machine can reach them; use a path")
		}
		// Handles carry the address to processes with another working directory.
		abs, err := filepath.Abs(address)
		if err != nil {
			return t, fmt.Errorf("manager: %w", err)
		}
		t.address = abs
	case "tcp", "tcp4", "tcp6":
		if len(o.AuthKey) == 0 {
			return t, errNoKey
		}
		t.tls = o.TLS
	default:
		return t, fmt.Errorf("manager: network %q: it is unix or tcp", network)
	}
	return t, nil
}

var errNoKey = errors.New("manager: TCP needs Options.AuthKey: without it everybody who reaches the port could read and change everything")

// helloTime is how long a server waits for a client to introduce itself, in nanoseconds. A client waits as long as its ctx says.
var helloTime atomic.Int64

func init() { helloTime.Store(int64(10 * time.Second)) }

// helloSize bounds every message before the other side is known.
const helloSize = 64 << 10

// dial connects and introduces this process. It tells before each step what it waits for.
func (t target) dial(ctx context.Context, tell func(stage string)) (*stream, serverHello, error) {
	tell("nobody has accepted it yet")
	c, err := t.dialSocket(ctx)
	if err != nil {
		return nil, serverHello{}, err
	}
	// The conversation obeys ctx by way of the deadline.
	raw := c
	stop := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })
	if t.tls != nil {
		tell("it was accepted, and the server has not shown its certificate yet: it may be stopped, or very busy")
	}
	if c, err = t.secure(ctx, c); err != nil {
		stop()
		raw.Close()
		return nil, serverHello{}, err
	}
	switch {
	case t.network == "unix" && len(t.key) > 0:
		tell("it was accepted, and the server has not introduced itself yet: it may have no key, where this side has Options.AuthKey, or be stopped, or very busy")
	case t.network == "unix", t.tls != nil:
		tell("it was accepted, and the server has not introduced itself yet: it may be stopped, or very busy")
	default:
		tell("it was accepted, and the server has not introduced itself yet: it may have Options.TLS, which this side has not, or be stopped")
	}
	s := newStream(c, helloSize)
	hello, err := t.introduce(s)
	if err == nil && !t.noRings {
		err = s.askForRings()
	}
	if !stop() && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		s.close()
		return nil, hello, err
	}
	s.max = t.max + envelope
	return s, hello, nil
}

func (t target) introduce(s *stream) (h serverHello, err error) {
	if len(t.key) > 0 {
		if err := authenticate(s, t.key, auth.Key.Client); err != nil {
			return h, err
		}
	}
	if err := s.writeFrame(clientHello{version, version, processName()}.append(nil)); err != nil {
		return h, fmt.Errorf("sending a hello: %w", err)
	}
	b, err := s.readFrame()
	if err != nil {
		return h, fmt.Errorf("waiting for the server's hello: %w", err)
	}
	if err := refusal(b); err != nil {
		return h, err
	}
	if len(t.key) == 0 && challenged(b) {
		return h, fmt.Errorf("%w: the server has a key, and this side's Options.AuthKey is empty", ErrAuth)
	}
	if h, err = readServerHello(b); err == nil && h.version != version {
		err = fmt.Errorf("the server speaks no version of the protocol that this program does (%d): build both from the same release", version)
	}
	return h, err
}

// dialSocket connects. A Unix socket whose queue of waiting connections is full refuses with EAGAIN, which on TCP would be
// a wait; so it is one here.
func (t target) dialSocket(ctx context.Context) (net.Conn, error) {
	pause := time.Millisecond
	for {
		c, err := t.dialOnce(ctx)
		if !errors.Is(err, syscall.EAGAIN) {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
			pause = min(2*pause, 100*time.Millisecond)
		}
	}
}

func (t target) dialOnce(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	if t.network != "unix" {
		return d.DialContext(ctx, t.network, t.address)
	}
	path, done, err := shortPath(t.address)
	if err != nil {
		return nil, err
	}
	defer done()
	c, err := d.DialContext(ctx, "unix", path)
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		op.Addr = &net.UnixAddr{Name: t.address, Net: "unix"}
	}
	return c, err
}

// listen makes the listener that a server of its own is given: at the address that the options name, else at a Unix
// socket in a directory of its own. cleanup removes what it made.
func listen(o Options) (l net.Listener, t target, cleanup func(), err error) {
	if o.private() {
		return listenPrivate(o)
	}
	if o.Network == "" {
		o.Network = "unix"
	}
	if o.Address == "" && o.Network != "unix" { // package net would listen to everybody, at some port
		return nil, t, nil, errors.New("manager: TCP needs Options.Address: 127.0.0.1:0 is any free port, for this machine only")
	}
	mode := socketMode(o)
	if t, err = newTarget(o.Network, o.Address, o); err != nil {
		return nil, t, nil, err
	}
	if t.network != "unix" {
		if l, err = net.Listen(t.network, t.address); err != nil {
			return nil, t, nil, fmt.Errorf("manager: %w", err)
		}
		t.address = l.Addr().String()
		return l, t, func() {}, nil
	}
	if l, err = listenUnix(t.address, mode); err != nil {
		return nil, t, nil, fmt.Errorf("manager: %w", err)
	}
	return l, t, func() { os.Remove(t.address) }, nil
}

// private reports whether the socket is to be in a directory of its own.
func (o Options) private() bool {
	return o.Address == "" && (o.Network == "" || o.Network == "unix")
}

// socketMode is that of the socket. There is none that lets in certain users only, so with AllowUIDs it is for everybody, and the server
// asks the kernel who comes.
func socketMode(o Options) fs.FileMode {
	if len(o.AllowUIDs) > 0 {
		return 0o666
	}
	return 0o600
}

func listenPrivate(o Options) (net.Listener, target, func(), error) {
	dir, err := os.MkdirTemp("", "multiproc-")
	if err == nil && len(dir) > maxSocketPath-len("/manager") {
		// A long TMPDIR. Every system that has Unix sockets has /tmp.
		os.Remove(dir)
		dir, err = os.MkdirTemp("/tmp", "multiproc-")
	}
	if err != nil {
		return nil, target{}, nil, fmt.Errorf("manager: a directory for the socket: %w", err)
	}
	cleanup := func() { os.RemoveAll(dir) }
	if len(o.AllowUIDs) > 0 {
		// They have to get through to the socket, and need not see what else there is.
		if err := os.Chmod(dir, 0o711); err != nil {
			cleanup()
			return nil, target{}, nil, fmt.Errorf("manager: %w", err)
		}
	}
	t, err := newTarget("unix", filepath.Join(dir, "manager"), o)
	if err == nil {
		var l net.Listener
		if l, err = listenUnix(t.address, socketMode(o)); err == nil {
			return l, t, cleanup, nil
		}
		err = fmt.Errorf("manager: %w", err)
	}
	cleanup()
	return nil, t, nil, err
}

// maxSocketPath is the longest path that a socket address takes: sun_path has 108 bytes here, 104 elsewhere, the NUL included.
const maxSocketPath = 103

// listenUnix listens at a path that only those can connect to whom the mode lets. A socket that a killed server left there is replaced; one
// that somebody listens on is not.
func listenUnix(address string, mode fs.FileMode) (*net.UnixListener, error) {
	path, done, err := shortPath(address)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if errors.Is(err, syscall.EADDRINUSE) && abandonedSocket(path) {
		os.Remove(path)
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "unix", Addr: &net.UnixAddr{Name: address, Net: "unix"}, Err: errors.Unwrap(err)}
	}
	l.SetUnlinkOnClose(false) // the listener goes to another process; who made the file removes it
	if err := os.Chmod(path, mode); err != nil {
		l.Close()
		os.Remove(path)
		return nil, err
	}
	return l, nil
}

// abandonedSocket reports whether path is a socket on which nobody listens.
func abandonedSocket(path string) bool {
	if i, err := os.Lstat(path); err != nil || i.Mode().Type() != os.ModeSocket {
		return false
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// processName is how this process introduces itself to servers.
func processName() string { return process.Current().Name }
