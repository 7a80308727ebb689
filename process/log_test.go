//go:build linux

package process_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/process"
)

// Values that say themselves how they want to be shown.
type (
	plain     struct{ A, B int }
	asText    struct{ plain }
	asJSON    struct{ plain }
	failing   struct{}
	secret    string
	jsonError struct{ plain }
	verbose   struct{}
)

func (asText) MarshalText() ([]byte, error)    { return []byte(`as "text"`), nil }
func (asJSON) MarshalJSON() ([]byte, error)    { return []byte(`{"as": "<json>"}`), nil }
func (failing) MarshalJSON() ([]byte, error)   { return nil, errors.New("cannot be shown") }
func (secret) LogValue() slog.Value            { return slog.GroupValue(slog.String("is", "secret")) }
func (jsonError) Error() string                { return "an error with JSON" }
func (jsonError) MarshalJSON() ([]byte, error) { return []byte(`{"error":1}`), nil }
func (verbose) Error() string                  { return "short" }
func (verbose) Format(s fmt.State, verb rune) {
	if s.Flag('+') {
		io.WriteString(s, "at length")
		return
	}
	io.WriteString(s, "short")
}

// logAll logs all that there is.
func logAll(l *slog.Logger) {
	l.Info("nothing")
	l.Debug("below")
	l.Log(context.Background(), slog.LevelError+3, "above")
	l.Info("text", "s", "", "quoted", "a \"b\"\n=", "bytes", "\xff\x00", "long", strings.Repeat("x", 10_000))
	l.Info("numbers", "i", -5, "i64", int64(-1)<<63, "u", ^uint64(0), "f", 1.5, "inf", math.Inf(1), "b", true, "d", -90*time.Second)
	l.Info("times", "utc", time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), "zone", time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("X", 3600)), "zero", time.Time{})
	l.Info("any", "nil", nil, "struct", plain{1, 2}, "pointer", &plain{1, 2}, "slice", []int{1, 2}, "map", map[string]int{"b": 1, "a": 2}, "bytes", []byte("raw"))
	l.Info("own", "text", asText{}, "json", asJSON{}, "nilText", (*asText)(nil), "value", secret("x"))
	l.Info("errors", "err", fmt.Errorf("wrapped: %w", os.ErrNotExist), "json", jsonError{}, "verbose", verbose{}, "nil", (*os.PathError)(nil))
	l.Info("group", slog.Group("g", "a", 1, slog.Group("h", "b", 2), slog.Group("empty")), slog.Group("", "inline", 3))
	l.Info("odd", []any{"key without value"}...)
	l.With("a", 1).Info("with")
	l.WithGroup("g").Info("in a group", "a", 1)
	l.WithGroup("g").Info("in an empty group")
	l.With("a", 1, "who", secret("x")).WithGroup("g").With("b", plain{1, 2}).WithGroup("").WithGroup("h").With().Info("deep", "c", errors.New("x"))
	deep := slog.Any("leaf", 1)
	for i := range 20 {
		deep = slog.Group(fmt.Sprint("g", i), deep)
	}
	l.Info("very deep", deep)
	l.Warn("bad JSON", "v", failing{})
	l.Info("", "", "")
}

var logsAll = process.Register(func(context.Context, struct{}) error {
	logAll(slog.New(process.LogHandler()))
	return nil
})

// What a child logs looks as if the parent had logged it.
func TestLogLooksTheSame(t *testing.T) {
	for name, newHandler := range map[string]func(io.Writer, *slog.HandlerOptions) slog.Handler{
		"text": func(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewTextHandler(w, o) },
		"JSON": func(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewJSONHandler(w, o) },
	} {
		for _, method := range methods(t) {
			t.Run(name+"/"+method.String(), func(t *testing.T) {
				t.Parallel()
				options := &slog.HandlerOptions{AddSource: true, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
					if len(groups) == 0 && a.Key == slog.TimeKey && time.Since(a.Value.Time()) < time.Minute {
						return slog.Attr{}
					}
					return a
				}}
				var here, there bytes.Buffer
				p := process.New(logsAll, struct{}{})
				p.Name, p.Method, p.Log = "logger", method, newHandler(&there, options)
				mustStart(t, p)
				join(t, p)
				logAll(slog.New(newHandler(&here, options)).With("process", "logger", "pid", p.PID()))
				got, want := strings.Split(there.String(), "\n"), strings.Split(here.String(), "\n")
				for i := range max(len(got), len(want)) {
					if i >= len(got) || i >= len(want) || got[i] != want[i] {
						t.Fatalf("%d lines, want %d; line %d is\n%.2000s, want\n%.2000s", len(got), len(want), i, got[min(i, len(got)-1)], want[min(i, len(want)-1)])
					}
				}
			})
		}
	}
}

// recorder is a handler that keeps what it gets.
type recorder struct {
	mu    sync.Mutex
	level slog.LevelVar
	wait  chan struct{} // if not nil: before each record
	seen  []map[string]any
}

func (r *recorder) handler() slog.Handler {
	return slog.NewJSONHandler(r, &slog.HandlerOptions{Level: &r.level})
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.wait != nil {
		<-r.wait
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		return 0, err
	}
	r.seen = append(r.seen, m)
	return len(b), nil
}

func (r *recorder) messages() (ms []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.seen {
		ms = append(ms, fmt.Sprint(m["msg"]))
	}
	return ms
}

var logsAndDies = process.Register(func(ctx context.Context, n int) error {
	l := slog.New(process.LogHandler())
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range n / 4 {
				l.Info("message", "n", g*n/4+i)
			}
		})
	}
	wg.Wait()
	return killSelf(ctx, syscall.SIGKILL)
})

// All that was logged before the end is handled when Join returns, however sudden the end.
func TestLogBeforeDeath(t *testing.T) {
	for _, n := range []int{4, 100, 4000} {
		var r recorder
		p := process.New(logsAndDies, n)
		p.Log = r.handler()
		before := time.Now()
		mustStart(t, p)
		joinError(t, p)
		seen := map[float64]bool{}
		for _, m := range r.seen {
			seen[m["n"].(float64)] = true
			at, err := time.Parse(time.RFC3339Nano, m["time"].(string))
			if err != nil || at.Before(before) || at.After(time.Now()) {
				t.Errorf("time %v", m["time"])
			}
			if m["process"] != p.Name || m["pid"] != float64(p.PID()) {
				t.Errorf("from %v (pid %v)", m["process"], m["pid"])
			}
		}
		if len(seen) != n || len(r.seen) != n {
			t.Errorf("%d records, %d different ones, want %d", len(r.seen), len(seen), n)
		}
	}
}

// levels is which levels a child's handlers take, and a message on each.
var levels = process.Register(func(ctx context.Context, all bool) error {
	h := process.LogHandler()
	if all {
		h = process.LogHandler(process.LogOptions{Level: slog.LevelDebug})
	}
	var taken []slog.Level
	for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if h.Enabled(ctx, l) {
			taken = append(taken, l)
		}
		slog.New(h).Log(ctx, l, l.String())
	}
	fmt.Println(taken)
	return nil
})

// The child does not send what the parent would not handle, and the parent is asked in any case.
func TestLogLevels(t *testing.T) {
	for _, test := range []struct {
		level    slog.Level
		all      bool
		taken    string
		messages string
	}{
		{slog.LevelDebug - 1, false, "[DEBUG INFO WARN ERROR]", "[DEBUG INFO WARN ERROR]"},
		{slog.LevelInfo, false, "[INFO WARN ERROR]", "[INFO WARN ERROR]"},
		{slog.LevelWarn, false, "[WARN ERROR]", "[WARN ERROR]"},
		{slog.LevelError + 1, false, "[]", "[]"},
		{slog.LevelWarn, true, "[DEBUG INFO WARN ERROR]", "[WARN ERROR]"},
		{-100_000, false, "[DEBUG INFO WARN ERROR]", "[DEBUG INFO WARN ERROR]"},
		{100_000, false, "[]", "[]"},
	} {
		t.Run(fmt.Sprint(test.level, test.all), func(t *testing.T) {
			var r recorder
			r.level.Set(test.level)
			taken := run(t, levels, test.all, func(p *process.Process) { p.Log = r.handler() })
			if got := strings.TrimSpace(taken); got != test.taken {
				t.Errorf("takes %s, want %s", got, test.taken)
			}
			if got := fmt.Sprint(r.messages()); got != test.messages {
				t.Errorf("messages %s, want %s", got, test.messages)
			}
		})
	}
}

// logsLines logs what it reads.
var logsLines = process.Register(func(context.Context, struct{}) error {
	l := slog.New(process.LogHandler(process.LogOptions{Level: slog.LevelDebug}))
	for {
		line, err := readLine(os.Stdin)
		if err != nil {
			return nil
		}
		l.Info(line)
	}
})

// The parent may change its level at any time.
func TestLogLevelChanges(t *testing.T) {
	var r recorder
	in, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	p := process.New(logsLines, struct{}{})
	p.Log, p.Stdin = r.handler(), in
	mustStart(t, p)
	in.Close()
	say := func(s string) { fmt.Fprintln(w, s) }
	say("one")
	waitUntil(t, "one is handled", func() bool { return len(r.messages()) == 1 })
	r.level.Set(slog.LevelError)
	say("two")
	w.Close()
	join(t, p)
	if got := fmt.Sprint(r.messages()); got != "[one]" {
		t.Error(got)
	}
}

// logsThrough starts a child of its own that logs, through whatever its parent has.
var logsThrough = process.Register(func(ctx context.Context, depth int) error {
	l := slog.New(process.LogHandler()).With("depth", depth)
	l.Info("hello", "pid is", os.Getpid())
	if depth == 0 {
		return nil
	}
	p := process.New(logsThroughAgain(), depth-1)
	p.Log = process.LogHandler().WithGroup("below")
	return errors.Join(p.Start(), p.Join(ctx))
})

var logsThroughAgain func() *process.Func[int]

func init() { logsThroughAgain = func() *process.Func[int] { return logsThrough } }

// Records of a grandchild say which process wrote them.
func TestLogOfGrandchildren(t *testing.T) {
	var r recorder
	p := process.New(logsThrough, 2)
	p.Name, p.Log = "top", r.handler()
	mustStart(t, p)
	join(t, p)
	if len(r.seen) != 3 {
		t.Fatalf("%d records, want 3", len(r.seen))
	}
	names := map[any]bool{}
	for i, m := range r.seen {
		names[m["process"]] = true
		content := m
		for range i {
			content, _ = content["below"].(map[string]any)
		}
		if content["depth"] != float64(2-i) || content["pid is"] != m["pid"] || len(content) < 2 {
			t.Errorf("record %d: %v", i, m)
		}
	}
	if len(names) != 3 || !names["top"] {
		t.Errorf("processes %v", names)
	}
}

// Where there is no parent to log to, records go where the process's own go.
func TestLogWithoutParent(t *testing.T) {
	if process.LogHandler() != slog.Default().Handler() {
		t.Error("the main process has a handler of its own")
	}
	p := process.New(logsLines, struct{}{})
	in, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.Stdin = in
	r := captured(t, p)
	in.Close()
	fmt.Fprintln(w, "to standard error")
	w.Close()
	join(t, p)
	if b, err := io.ReadAll(r); err != nil || !strings.HasSuffix(string(b), "INFO to standard error\n") {
		t.Errorf("%q %v", b, err)
	}

	// As the default logger's handler it is itself in the end, which must not go round in circles.
	p = process.New(worker, []string{"x"})
	r = captured(t, p)
	join(t, p)
	if b, err := io.ReadAll(r); err != nil || !strings.HasSuffix(string(b), "INFO done file=x\n") {
		t.Errorf("%q %v", b, err)
	}
}

func init() {
	mains["logsDetached"] = func() int {
		p := process.New(logsLines, struct{}{})
		p.Detach, p.Stdin, p.Stderr, p.Log = true, os.Stdin, os.Stdout, slog.NewTextHandler(os.Stdout, nil)
		if err := p.Start(); err != nil {
			fmt.Println(err)
		}
		select {}
	}
}

// A child that outlives its parent logs to standard error.
func TestLogAfterTheParentsDeath(t *testing.T) {
	in, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	cmd := program(t, "logsDetached")
	cmd.Stdin = in
	out := startProgram(t, cmd)
	in.Close()
	fmt.Fprintln(w, "one")
	if s := out.next(); !strings.Contains(s, "msg=one process=Process-1 pid=") {
		t.Error(s)
	}
	cmd.Process.Kill()
	cmd.Wait()
	for _, line := range []string{"two", "three"} {
		fmt.Fprintln(w, line)
		if s := out.next(); !strings.HasSuffix(s, "level=INFO msg="+line) {
			t.Error(s)
		}
	}
	w.Close()
	out.end()
}

// A handler that is slow holds the child up, and loses nothing. A child that is killed meanwhile does not wait; Join does.
func TestLogWithSlowHandler(t *testing.T) {
	const some, all = 50, 100_000
	r := recorder{wait: make(chan struct{})}
	p := process.New(logsCounting, all)
	p.Log = r.handler()
	progress := output(t, p)
	mustStart(t, p)
	p.Stdout.Close()
	if _, err := io.ReadFull(progress, make([]byte, some)); err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := p.Join(ctx); err != context.DeadlineExceeded {
		t.Errorf("Join before all is handled: %v", err)
	}
	close(r.wait)
	if e := joinError(t, p); e.Signal != syscall.SIGKILL {
		t.Error(e)
	}
	for i, m := range r.seen {
		if m["n"] != float64(i) {
			t.Fatalf("record %d is %v", i, m)
		}
	}
	if n := len(r.seen); n < some || n == all {
		t.Errorf("%d records", n)
	}
}

// logsCounting writes a byte for each record that it has logged.
var logsCounting = process.Register(func(_ context.Context, n int) error {
	l := slog.New(process.LogHandler())
	for i := range n {
		l.Info("on and on", "n", i)
		os.Stdout.Write([]byte{'.'})
	}
	return nil
})

var logsMuch = process.Register(func(context.Context, int) error {
	l := slog.New(process.LogHandler())
	l.Info(strings.Repeat("m", 100_000), "large", strings.Repeat("a", 500_000))
	l.Info("begin"+strings.Repeat("m", 2<<20)+"end", "lost", 1)
	l.Info("short", "lost", strings.Repeat("a", 2<<20))
	deep := slog.Any("leaf", 1)
	for range 100 {
		deep = slog.Group("g", deep)
	}
	l.Info("deep", deep)
	return nil
})

// Records are not lost for their size.
func TestLargeLogRecords(t *testing.T) {
	var r recorder
	p := process.New(logsMuch, 0)
	p.Log = r.handler()
	mustStart(t, p)
	join(t, p)
	if len(r.seen) != 4 {
		t.Fatalf("%d records, want 4", len(r.seen))
	}
	if m := r.seen[0]; len(m["msg"].(string)) != 100_000 || len(m["large"].(string)) != 500_000 {
		t.Errorf("the first is not whole: %.200v", m)
	}
	if s := r.seen[1]["msg"].(string); !strings.HasPrefix(s, "begin") || !strings.HasSuffix(s, "end") || len(s) > 100_000 || r.seen[1]["lost"] != nil {
		t.Errorf("the second has %d bytes", len(s))
	}
	if m := r.seen[2]; m["msg"] != "short" || m["lost"] != nil {
		t.Errorf("the third: %.200v", m)
	}
	if m := r.seen[3]; m["msg"] != "deep" || m["g"] == nil {
		t.Errorf("the fourth: %.200v", m)
	}
}

// A panic in the parent's handler is the parent's: it dies of it, and not silently.
func TestPanicInLogHandler(t *testing.T) {
	cmd := program(t, "logHandlerPanics")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "panic: in the handler") {
		t.Errorf("%v: %s", err, out)
	}
}

type panicHandler struct{ slog.Handler }

func (panicHandler) Handle(context.Context, slog.Record) error { panic("in the handler") }
func (h panicHandler) WithAttrs([]slog.Attr) slog.Handler      { return h }

func init() {
	mains["logHandlerPanics"] = func() int {
		p := process.New(logsAll, struct{}{})
		p.Log = panicHandler{slog.Default().Handler()}
		if err := p.Start(); err != nil {
			fmt.Println(err)
		}
		p.Join(context.Background())
		return 0
	}
}

// Logging and capturing leave nothing behind.
func TestLogAndCaptureLeaveNothing(t *testing.T) {
	join(t, start(t, nothing, struct{}{}))
	before := measure(t)
	for range 20 {
		p := process.New(logsAll, struct{}{})
		p.Log, p.CaptureStderr, p.Stderr = slog.DiscardHandler, true, devNull(t)
		mustStart(t, p)
		join(t, p)
		p.Stderr.Close()
	}
	waitUntil(t, "nothing is left", func() bool {
		after := measure(t)
		return after.descriptors <= before.descriptors && after.goroutines <= before.goroutines
	})
}

var logsInLoop = process.Register(func(_ context.Context, n int) error {
	l := slog.New(process.LogHandler()).With("component", "test")
	for i := range n {
		l.Info("message", "n", i, "name", "value")
	}
	return nil
})

// A record that goes to the parent, beside one that a handler of this process writes to nowhere.
func BenchmarkLog(b *testing.B) {
	handler := func() slog.Handler { return slog.NewTextHandler(io.Discard, nil) }
	b.Run("here", func(b *testing.B) {
		l := slog.New(handler()).With("component", "test")
		for b.Loop() {
			l.Info("message", "n", 1, "name", "value")
		}
	})
	b.Run("parent", func(b *testing.B) {
		p := process.New(logsInLoop, b.N)
		p.Log = handler()
		if err := p.Start(); err != nil {
			b.Fatal(err)
		}
		if err := p.Join(b.Context()); err != nil {
			b.Fatal(err)
		}
	})
}
