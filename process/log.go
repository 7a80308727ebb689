package process

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/wire"
)

// This file is the child's end of logging, logsink.go the parent's, logrecord.go what is between them.
//
//	child                                       parent
//	LogHandler().Handle: encode the record
//	       write it to the log socket           decode it, find the handler for its groups and attributes
//	                                            Process.Log's Handle
//
// The socket is the child's alone, and goes along with its job. What is in it when the child dies is handled before Join returns.

// LogOptions are options of [LogHandler]. The zero value works.
type LogOptions struct {
	// Level is the least level of records that are sent to the parent. Nil is the least that Process.Log handled when the child was
	// started. The parent's handler is asked in any case.
	Level slog.Leveler
}

// LogHandler returns a handler that sends records to the parent, whose [Process.Log] handles them with the name and id of
// this process added, as the attributes "process" and "pid". In a child that logs through it all is usually one line:
//
//	slog.SetDefault(slog.New(process.LogHandler()))
//
// A record's time, level, groups, attributes and source (slog.HandlerOptions.AddSource) arrive as they are. Values are resolved here: a
// LogValuer is called in the child, and a value of a type of its own arrives as what slog's handlers would print of it, as text
// and as JSON. A record of more than a megabyte loses its attributes.
//
// Handle returns when the kernel has the record, and then nothing that happens to this process can take it back. It waits when the parent
// is so slow that the kernel's buffer (some 250 records) is full; a parent whose handler waits for the child is a deadlock.
//
// A child that wants its own children's records to reach its parent sets their Process.Log to LogHandler(): the parent then
// sees the name and id of the process that wrote them.
//
// In a process without a parent that handles records, which is the main process, a child whose Process.Log is nil, and a child whose parent has
// ended, it is another handler: slog.Default's at the time of the call, and for a parent that ends later, one that
// writes text to standard error.
func LogHandler(opts ...LogOptions) slog.Handler {
	s := ownLogSocket()
	if s == nil {
		return slog.Default().Handler()
	}
	f := &forwarder{socket: s, level: s.level}
	if len(opts) > 0 && opts[0].Level != nil {
		f.level = opts[0].Level
	}
	return f
}

// A logSocket is a child's way to its parent's handler.
type logSocket struct {
	conn   *wire.Conn
	level  slog.Level
	origin logOrigin // this process
	alone  atomic.Bool
}

var ownLogSocket = sync.OnceValue(func() *logSocket {
	j := currentJob()
	if j == nil || !j.header.Log {
		return nil
	}
	conn, err := wire.New(j.log)
	if err != nil {
		return nil
	}
	// The parent's end stays open as long as the parent lives.
	if conn.Control(func(fd int) error {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		if n, err := unix.Poll(p, 0); err == nil && n == 1 && p[0].Revents&unix.POLLHUP != 0 {
			return syscall.EPIPE
		}
		return nil
	}) != nil {
		conn.Close()
		return nil
	}
	return &logSocket{conn: conn, level: j.header.LogLevel, origin: logOrigin{j.header.Info.Name, os.Getpid()}}
})

// A logOrigin is the process that wrote a record.
type logOrigin struct {
	name string
	pid  int
}

// A forwarder is the handler of a child.
type forwarder struct {
	socket *logSocket
	level  slog.Leveler
	origin *logOrigin // of records that came from a child of this process; nil is this process itself
	chain  []byte     // what With added, as it is sent
	links  int        // of the chain
}

// Enabled reports whether the parent's handler takes records of this level, as far as that is known here.
func (f *forwarder) Enabled(_ context.Context, l slog.Level) bool { return l >= f.level.Level() }

// WithAttrs returns a handler that adds attributes to all records.
func (f *forwarder) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return f
	}
	var e encoder
	e.logAttrs(attrs, 0)
	return f.with(linkAttrs, e)
}

// WithGroup returns a handler that puts what comes later into a group.
func (f *forwarder) WithGroup(name string) slog.Handler {
	if name == "" {
		return f
	}
	var e encoder
	e.text(name)
	return f.with(linkGroup, e)
}

func (f *forwarder) with(kind byte, content []byte) *forwarder {
	g := *f
	g.chain = append(append(bytes.Clone(f.chain), kind), content...)
	g.links++
	return &g
}

// withOrigin is for records of a child of this process.
func (f *forwarder) withOrigin(o logOrigin) *forwarder {
	g := *f
	g.origin = &o
	return &g
}

// logBuffers keep the memory in which records are encoded.
var logBuffers = sync.Pool{New: func() any { return new(encoder) }}

// Handle sends a record.
func (f *forwarder) Handle(ctx context.Context, r slog.Record) error {
	if f.socket.alone.Load() {
		return f.handleAlone(ctx, r)
	}
	e := logBuffers.Get().(*encoder)
	defer logBuffers.Put(e)
	*e = (*e)[:0]
	origin := f.socket.origin
	if f.origin != nil {
		origin = *f.origin
	}
	e.logRecord(origin, r, f.links, f.chain)
	if len(*e) > maxLogRecord {
		short := slog.NewRecord(r.Time, r.Level, shortenTo(r.Message, maxLogMessage), r.PC)
		*e = (*e)[:0]
		e.logRecord(origin, short, 0, nil)
	}
	err := f.socket.conn.WriteFrame(*e, nil)
	if cap(*e) > 64<<10 {
		*e = nil
	}
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		// The parent has ended, and this process has not, so it is meant to go on.
		f.socket.alone.Store(true)
		return f.handleAlone(ctx, r)
	}
	return err
}

// handleAlone writes a record to standard error.
func (f *forwarder) handleAlone(ctx context.Context, r slog.Record) error {
	var h slog.Handler = slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: f.level})
	d := decoder{rest: f.chain}
	h = d.logChain(h, f.links)
	return h.Handle(ctx, r)
}

// leastLevel finds the least level that a handler takes.
func leastLevel(h slog.Handler) slog.Level {
	const far = 1 << 12
	ctx := context.Background()
	if h.Enabled(ctx, -far) {
		return math.MinInt32
	}
	low, high := slog.Level(-far), slog.Level(far) // low is not taken
	if !h.Enabled(ctx, high) {
		return math.MaxInt32
	}
	for high-low > 1 {
		if middle := low + (high-low)/2; h.Enabled(ctx, middle) {
			high = middle
		} else {
			low = middle
		}
	}
	return high
}
