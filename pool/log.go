package pool

import (
	"context"
	"log/slog"
	"time"

	"github.com/go-multiproc/multiproc/process"
)

// Records are written without the pool's lock, or a handler that looks at the pool would wait for itself, and in goroutines of workers, each of which waits for its handler: a log that takes nothing
// holds up what is logged, and not the tasks of other workers.

// logStart tells of a worker that is ready.
func (p *Pool) logStart(w *worker) {
	log := p.options.Log
	if log == nil {
		return
	}
	attrs := []slog.Attr{slog.String("worker", w.name), slog.Int("pid", w.pid), slog.Duration("after", time.Since(w.began).Round(time.Microsecond))}
	switch {
	case w.replaces.died:
		log.LogAttrs(context.Background(), slog.LevelInfo, "a worker of a pool has taken the place of one that died", append(attrs, slog.String("replaces", w.replaces.name))...)
	case w.replaces.name != "":
		log.LogAttrs(context.Background(), slog.LevelDebug, "a worker of a pool has taken the place of one that ended", append(attrs, slog.String("replaces", w.replaces.name))...)
	default:
		log.LogAttrs(context.Background(), slog.LevelDebug, "a worker of a pool has started", attrs...)
	}
}

// logEnd tells of a worker that is gone.
func (p *Pool) logEnd(w *worker, died bool, exit *process.ExitError, failed, requeued int) {
	log := p.options.Log
	if log == nil {
		return
	}
	level, message := slog.LevelDebug, "a worker of a pool has ended"
	if died {
		level, message = slog.LevelWarn, "a worker of a pool died"
	}
	attrs := []slog.Attr{
		slog.String("worker", w.name), slog.Int("pid", w.pid), slog.Uint64("tasks", w.stats.Done), slog.Duration("busy", w.stats.Busy),
		slog.Int("failed", failed), slog.Int("requeued", requeued),
	}
	if died {
		attrs = append(attrs, slog.String("error", exit.Error()))
	}
	log.LogAttrs(context.Background(), level, message, attrs...)
}
