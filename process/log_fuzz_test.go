//go:build linux

package process

import (
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"
)

// Whatever arrives as a record, the parent's handler gets something, or nothing, but lives on.
func FuzzLogRecord(f *testing.F) {
	var e encoder
	r := slog.NewRecord(time.Now(), slog.LevelInfo, "message", 0)
	r.AddAttrs(slog.Int("i", 1), slog.Group("g", slog.Any("e", errors.New("x"))), slog.Any("v", struct{ A int }{1}), slog.Time("t", time.Now()))
	h := new(forwarder).WithAttrs([]slog.Attr{slog.Bool("b", true)}).WithGroup("h").(*forwarder)
	e.logRecord(logOrigin{"Process-1", 7}, r, h.links, h.chain)
	f.Add([]byte(e))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, frame []byte) {
		s := logSink{handler: slog.NewJSONHandler(io.Discard, nil)}
		s.handle(frame)
		s.handler = slog.NewTextHandler(io.Discard, &slog.HandlerOptions{AddSource: true})
		s.chains = nil
		s.handle(frame)
	})
}
