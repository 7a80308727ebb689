package process

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/wire"
)

// A logSink hands the records of one child to the parent's handler.
type logSink struct {
	conn    *wire.Conn
	handler slog.Handler
	done    chan struct{} // closed when all is handled
	chains  map[string]slog.Handler
}

// newLogSink makes a sink, and the child's end of it, which the caller closes.
func newLogSink(h slog.Handler) (*logSink, int, error) {
	ours, theirs, err := controlPair()
	if err != nil {
		return nil, -1, err
	}
	conn, err := wire.New(ours)
	if err != nil {
		unix.Close(theirs)
		return nil, -1, err
	}
	return &logSink{conn: conn, handler: h, done: make(chan struct{})}, theirs, nil
}

// run handles records until the child's end of the socket is closed, or settle says that there will be no more. A panic in the
// handler is this program's, as on any of its goroutines.
func (s *logSink) run() {
	defer close(s.done)
	defer s.conn.Close()
	for {
		// Without spinning: records are not answers that somebody waits for.
		if s.conn.Park() != nil {
			return
		}
		frame, fds, err := s.conn.ReadFrame(maxFrame)
		closeAll(fds)
		if err != nil {
			return // at the end of all, or within a record that the child did not live to write
		}
		s.handle(frame)
	}
}

// settle is called when the child has ended. It waits until what the child wrote is handled.
func (s *logSink) settle() {
	s.conn.Control(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RD) })
	<-s.done
}

func (s *logSink) handle(frame []byte) {
	ctx := context.Background()
	r, err := parseLogRecord(frame)
	if err != nil {
		r.record = slog.NewRecord(time.Now(), slog.LevelError, fmt.Sprintf("process: a record of %d bytes cannot be read", len(frame)), 0)
	}
	h := s.handlerFor(r)
	if h.Enabled(ctx, r.record.Level) {
		h.Handle(ctx, r.record) // whoever wrote the record does not look at the error either
	}
}

// handlerFor returns the handler for records from this origin with this chain. There are few of them.
func (s *logSink) handlerFor(r logRecord) slog.Handler {
	const few = 256
	key := fmt.Sprintf("%d %s\x00%s", r.origin.pid, r.origin.name, r.chain)
	if h, ok := s.chains[key]; ok {
		return h
	}
	var h slog.Handler
	if f, ok := s.handler.(*forwarder); ok {
		h = f.withOrigin(r.origin) // whose parent says who it was
	} else {
		h = s.handler.WithAttrs([]slog.Attr{slog.String("process", r.origin.name), slog.Int("pid", r.origin.pid)})
	}
	d := decoder{rest: []byte(r.chain)}
	h = d.logChain(h, r.links)
	if s.chains == nil || len(s.chains) >= few {
		s.chains = make(map[string]slog.Handler)
	}
	s.chains[key] = h
	return h
}
