package manager_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/psync"
)

// A book is kept.
type book struct {
	N     int
	Notes map[string]string
	Any   any

	calls int `cbor:"-"` // since it was decoded
}

// An entry is what is to be done to a book.
type entry struct {
	Add   int
	Note  string
	Long  int    // bytes of a note
	Spoil bool   // puts something into it that cannot be kept
	End   string // "error", "panic", "exit"
}

var errSpoiled = manager.RegisterError(errors.New("it was told to fail"))

var (
	books = manager.Register("book", func() *book { return &book{N: 100} }).Durable()
	write = manager.RegisterMethod(books, func(b *book, _ context.Context, e entry) (int, error) {
		b.N += e.Add
		if b.Notes == nil {
			b.Notes = map[string]string{}
		}
		if e.Note != "" {
			b.Notes[e.Note] = strings.Repeat("x", e.Long)
		}
		if e.Spoil {
			b.Any = func() {}
		}
		switch e.End {
		case "error":
			return b.N, errSpoiled
		case "panic":
			panic("it was told to panic")
		case "exit":
			runtime.Goexit()
		}
		return b.N, nil
	})
	// read has a copy of the book, and spoils that.
	read = manager.RegisterMethod(books, func(b *book, _ context.Context, told *manager.Event) (book, error) {
		was := *b
		b.N, b.Any = -1, func() {}
		for note := range b.Notes {
			delete(b.Notes, note)
		}
		was.Notes = nil
		return was, nil
	}).Concurrent()
	notes = manager.RegisterMethod(books, func(b *book, _ context.Context, _ struct{}) (int, error) { return len(b.Notes), nil }).Concurrent()
	calls = manager.RegisterMethod(books, func(b *book, _ context.Context, _ struct{}) (int, error) { b.calls++; return b.calls, nil })
	slow  = manager.RegisterMethod(books, func(b *book, ctx context.Context, told [2]*manager.Event) (int, error) {
		b.N++
		return b.N, errors.Join(told[0].Set(ctx), told[1].Wait(ctx))
	})
)

func openBook(t testing.TB, m *manager.Manager) *manager.Object[book] {
	t.Helper()
	return must[*manager.Object[book]](t)(books.Open(m, "book"))
}

// Whatever a call has changed is there after a kill, also where it failed; what left no trace in the object is not noted.
func TestDurable(t *testing.T) {
	for _, mode := range []string{"journal", "snapshots"} {
		t.Run(mode, func(t *testing.T) {
			ctx := testContext(t)
			o := manager.Options{Path: t.TempDir()}
			if mode == "snapshots" {
				manager.TuneJournal(t, 1, time.Millisecond, 0)
			}
			var m *manager.Manager
			var b *manager.Object[book]
			again := func() {
				t.Helper()
				if m != nil {
					for mode == "snapshots" && must[manager.Stats](t)(m.Stats(ctx)).Snapshot == 0 {
						time.Sleep(time.Millisecond) // it is made beside us
					}
					kill(t, m)
				}
				m = must[*manager.Manager](t)(manager.Start(o))
				b = openBook(t, m)
			}
			is := func(want int) {
				t.Helper()
				if got, err := read.Call(ctx, b, nil); got.N != want || err != nil {
					t.Errorf("the book is at %d, %v; want %d", got.N, err, want)
				}
			}
			again()
			is(100)
			again()
			is(100)
			for i, c := range []struct {
				e    entry
				want int
				fail string
			}{
				{entry{Add: 1}, 101, ""},
				{entry{Add: 10, Note: "a", Long: 10}, 111, ""},
				{entry{Add: 100, End: "error"}, 211, "it was told to fail"},
				{entry{Add: 1000, End: "panic"}, 1211, "it was told to panic"},
				{entry{Add: 1, End: "exit"}, 1212, "runtime.Goexit"},
				{entry{Add: 1, Note: "b", Long: 300_000}, 1213, ""},
				{entry{Note: "b"}, 1213, ""},
			} {
				_, err := write.Call(ctx, b, c.e)
				if c.fail == "" && err != nil || c.fail != "" && !strings.Contains(fmt.Sprint(err), c.fail) || errors.Is(err, manager.ErrUndone) {
					t.Errorf("call %d: %v", i, err)
				}
				is(c.want)
				again()
				is(c.want)
			}
			if n, err := notes.Call(ctx, b, struct{}{}); n != 2 || err != nil {
				t.Errorf("%d notes, %v", n, err)
			}
			if mode == "journal" {
				before := must[manager.Stats](t)(m.Stats(ctx))
				for range 100 {
					must[int](t)(write.Call(ctx, b, entry{}))
				}
				if after := must[manager.Stats](t)(m.Stats(ctx)); after.Journal != before.Journal || after.Unsynced != before.Unsynced {
					t.Errorf("100 calls that changed nothing were noted: %d bytes, before %d", after.Journal+after.Unsynced, before.Journal+before.Unsynced)
				}
				if n := must[int](t)(calls.Call(ctx, b, struct{}{})) + must[int](t)(calls.Call(ctx, b, struct{}{})); n != 1+2 {
					t.Errorf("what is not encoded is not there from one call to the next: %d", n)
				}
			}
			kill(t, m)
		})
	}
}

// What cannot be kept is undone, with the reason, and the method's own error; without a path, too.
func TestUndone(t *testing.T) {
	for _, path := range []bool{false, true} {
		t.Run(fmt.Sprintf("path=%t", path), func(t *testing.T) {
			o := manager.Options{MaxMemory: 1 << 20, MaxMessage: 600_000}
			if path {
				o.Path = t.TempDir()
			}
			m, ctx := start(t, o), testContext(t)
			b := openBook(t, m)
			filler := must[*manager.List[string]](t)(manager.NewList[string](m))
			check(t, filler.Append(ctx, strings.Repeat("x", 300_000)))
			must[int](t)(write.Call(ctx, b, entry{Add: 1, Note: "a", Long: 1000}))
			must[int](t)(calls.Call(ctx, b, struct{}{}))
			memory := must[manager.Stats](t)(m.Stats(ctx)).Memory
			for _, c := range []struct {
				name string
				e    entry
				is   []error
				not  []error
				text string
			}{
				{"encoding", entry{Add: 1, Spoil: true}, nil, []error{errSpoiled, manager.ErrLimit}, "book.Any: a func() cannot be kept"},
				{"encoding, with an error", entry{Add: 1, Spoil: true, End: "error"}, []error{errSpoiled}, nil, "it was told to fail; and what it changed cannot be kept, and is undone: book.Any"},
				{"encoding, with a panic", entry{Add: 1, Spoil: true, End: "panic"}, nil, nil, "panicked: it was told to panic; and what it changed"},
				{"encoding, with Goexit", entry{Add: 1, Spoil: true, End: "exit"}, nil, nil, "Goexit"},
				{"too large", entry{Add: 1, Note: "b", Long: 700_000}, []error{manager.ErrTooLarge}, []error{manager.ErrLimit}, "the object has 701"},
				{"too much memory", entry{Add: 1, Note: "b", Long: 500_000}, []error{manager.ErrLimit}, nil, ""},
				{"the same, with an error", entry{Add: 1, Note: "b", Long: 500_000, End: "error"}, []error{manager.ErrLimit, errSpoiled}, nil, "Options.MaxMemory is 1048576"},
			} {
				if c.name == "too much memory" {
					check(t, filler.Append(ctx, strings.Repeat("y", 250_000)))
					memory = must[manager.Stats](t)(m.Stats(ctx)).Memory
				}
				_, err := write.Call(ctx, b, c.e)
				var method *manager.MethodError
				if !errors.Is(err, manager.ErrUndone) || !errors.As(err, &method) || !strings.Contains(err.Error(), c.text) {
					t.Errorf("%s: %v", c.name, err)
				}
				if method != nil && (method.Stack != "") != (c.e.End == "panic") {
					t.Errorf("%s: stack %q", c.name, method.Stack)
				}
				for _, is := range c.is {
					if !errors.Is(err, is) {
						t.Errorf("%s: %v is not %v", c.name, err, is)
					}
				}
				for _, not := range c.not {
					if errors.Is(err, not) {
						t.Errorf("%s: %v is %v", c.name, err, not)
					}
				}
				if got, err := read.Call(ctx, b, nil); got.N != 101 || got.Any != nil || err != nil {
					t.Errorf("%s: afterwards the book is at %d, %v", c.name, got.N, err)
				}
				if n, err := calls.Call(ctx, b, struct{}{}); n != 1 || err != nil {
					t.Errorf("%s: afterwards the object is not decoded anew: call %d, %v", c.name, n, err)
				}
				if n := must[manager.Stats](t)(m.Stats(ctx)).Memory; n != memory {
					t.Errorf("%s: afterwards %d bytes are counted, before %d", c.name, n, memory)
				}
			}
			// It goes on, and what is given back is counted so.
			check(t, filler.Clear(ctx))
			if n, err := write.Call(ctx, b, entry{Add: 1, Note: "b", Long: 500_000}); n != 102 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			stats := must[manager.Stats](t)(m.Stats(ctx))
			must[int](t)(write.Call(ctx, b, entry{Note: "b", Long: 100_000}))
			if n := must[manager.Stats](t)(m.Stats(ctx)); n.Memory != stats.Memory-400_000 || n.Bytes != stats.Bytes-400_000 {
				t.Errorf("400,000 bytes less, and %d are counted (%d of values), before %d (%d)", n.Memory, n.Bytes, stats.Memory, stats.Bytes)
			}
		})
	}
}

// A method that runs beside others sees what is kept, and not what another one is just doing; nor does it wait for that.
func TestDurableConcurrent(t *testing.T) {
	o := manager.Options{Path: t.TempDir()}
	m, ctx := start(t, o), testContext(t)
	b := openBook(t, m)
	told := [2]*manager.Event{must[*manager.Event](t)(manager.NewEvent(m)), must[*manager.Event](t)(manager.NewEvent(m))}
	call := later(func() error { _, err := slow.Call(ctx, b, told); return err })
	check(t, told[0].Wait(ctx))
	for range 3 {
		if got, err := read.Call(ctx, b, nil); got.N != 100 || err != nil {
			t.Errorf("while a call is under way, the book is at %d, %v", got.N, err)
		}
	}
	check(t, told[1].Set(ctx))
	check(t, call())
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			last := 0
			for range 200 {
				if i%2 == 0 {
					must[int](t)(write.Call(ctx, b, entry{Add: 1, Note: "n", Long: i}))
				}
				got, err := read.Call(ctx, b, nil)
				if err != nil || got.N < last {
					t.Errorf("the book is at %d after %d, %v", got.N, last, err)
				}
				last = got.N
			}
		})
	}
	wg.Wait()
	if got, err := read.Call(ctx, b, nil); got.N != 501 || err != nil {
		t.Errorf("the book is at %d, %v", got.N, err)
	}
}

// A shelf has handles in it.
type shelf struct {
	Lists map[string]*manager.List[int]
	Self  *manager.Object[shelf]
	Books []*manager.Object[book]
}

type putting struct {
	Name  string
	List  *manager.List[int]
	Self  *manager.Object[shelf]
	Book  *manager.Object[book]
	Drop  string
	Spoil bool
}

var (
	shelves = manager.Register[shelf]("shelf", nil).Durable()
	put     = manager.RegisterMethod(shelves, func(s *shelf, ctx context.Context, p putting) ([]string, error) {
		if s.Lists == nil {
			s.Lists = map[string]*manager.List[int]{}
		}
		if p.Name != "" {
			s.Lists[p.Name] = p.List
		}
		if p.Self != nil {
			s.Self = p.Self
		}
		if p.Book != nil {
			s.Books = append(s.Books, p.Book)
		}
		delete(s.Lists, p.Drop)
		var names []string
		for name, l := range s.Lists {
			names = append(names, name)
			if err := l.Append(ctx, len(s.Lists)); err != nil {
				return names, err
			}
		}
		if p.Spoil {
			s.Lists["spoilt"] = new(manager.List[int]) // of no manager
		}
		return names, nil
	})
	take = manager.RegisterMethod(shelves, func(s *shelf, _ context.Context, name string) (*manager.List[int], error) {
		return s.Lists[name], nil
	}).Concurrent()
)

// What an object mentions lives as long as it does, is let go of with it, also in a circle, and comes back.
func TestDurableReferences(t *testing.T) {
	ctx := testContext(t)
	o := manager.Options{Path: t.TempDir()}
	m := must[*manager.Manager](t)(manager.Start(o))
	s := must[*manager.Object[shelf]](t)(shelves.Open(m, "shelf"))
	for _, name := range []string{"a", "b"} {
		l := must[*manager.List[int]](t)(manager.NewList[int](m))
		must[[]string](t)(put.Call(ctx, s, putting{Name: name, List: l}))
		check(t, l.Close())
	}
	b := must[*manager.Object[book]](t)(books.New(m))
	must[[]string](t)(put.Call(ctx, s, putting{Book: b, Self: s}))
	must[int](t)(write.Call(ctx, b, entry{Add: 11}))
	check(t, b.Close())
	if _, err := put.Call(ctx, s, putting{Spoil: true, Drop: "b"}); !errors.Is(err, manager.ErrUndone) || !strings.Contains(err.Error(), `shelf.Lists["spoilt"]`) {
		t.Errorf("a handle of no manager: %v", err)
	}
	lists := func(m *manager.Manager, want int) {
		t.Helper()
		for {
			stats := must[manager.Stats](t)(m.Stats(ctx))
			if stats.Objects["list"] == want {
				return
			}
			if ctx.Err() != nil {
				t.Fatalf("%d lists, want %d", stats.Objects["list"], want)
			}
		}
	}
	lists(m, 2)
	for range 2 {
		kill(t, m)
		m = must[*manager.Manager](t)(manager.Start(o))
		s = must[*manager.Object[shelf]](t)(shelves.Open(m, "shelf"))
		lists(m, 2)
		l := must[*manager.List[int]](t)(take.Call(ctx, s, "a"))
		if got, err := l.Snapshot(ctx); fmt.Sprint(got) != "[1 2 2 1]" && fmt.Sprint(got) != "[1 2 2 2]" || err != nil {
			t.Errorf("list a is %v, %v", got, err)
		}
		check(t, l.Close())
	}
	must[[]string](t)(put.Call(ctx, s, putting{Drop: "a"}))
	lists(m, 1) // without a garbage collection in the server
	l := must[*manager.List[int]](t)(manager.NewList[int](m))
	must[[]string](t)(put.Call(ctx, s, putting{Name: "c", List: l}))
	check(t, l.Close())
	lists(m, 2)
	check(t, m.Remove(ctx, "shelf"))
	check(t, s.Close())
	for { // the shelf mentions itself
		stats := must[manager.Stats](t)(m.Stats(ctx))
		if stats.Objects["list"] == 0 && stats.Objects["own type"] == 0 {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("there still are %v", stats.Objects)
		}
	}
	kill(t, m)
}

// Two types that have one name, at different times.
type early struct{ N int }

type late struct{ N []string }

type grown struct {
	N    int
	More string
}

var (
	earlies = manager.Register[early]("changing", nil).Durable()
	lates   = manager.Register[late]("changing, later", nil).Durable()
	growns  = manager.Register[grown]("changing, grown", nil).Durable()
	addOne  = manager.RegisterMethod(earlies, func(e *early, _ context.Context, _ struct{}) (int, error) { e.N++; return e.N, nil })
	count2  = manager.RegisterMethod(lates, func(l *late, _ context.Context, _ struct{}) (int, error) { return len(l.N), nil })
	grow    = manager.RegisterMethod(growns, func(g *grown, _ context.Context, s string) (string, error) {
		g.More += s
		return fmt.Sprint(g.N, g.More), nil
	})
)

const swapEnv = "MULTIPROC_TEST_SWAP_TYPES"

func init() {
	if with := os.Getenv(swapEnv); with != "" {
		manager.SwapTypes("changing", with)
	}
}

// swapped has this process and the servers that it starts know another type under the name, until restore.
func swapped(t *testing.T, with string) (restore func()) {
	t.Helper()
	t.Setenv(swapEnv, with)
	manager.SwapTypes("changing", with)
	return func() {
		manager.SwapTypes("changing", with)
		t.Setenv(swapEnv, "")
	}
}

// A type that cannot be made of what is kept is an error of the calls, and no more: it stays. One that can be has what both have.
func TestDurableTypeChanges(t *testing.T) {
	ctx := testContext(t)
	o := manager.Options{Path: t.TempDir()}
	m := must[*manager.Manager](t)(manager.Start(o))
	e := must[*manager.Object[early]](t)(earlies.Open(m, "x"))
	for range 5 {
		must[int](t)(addOne.Call(ctx, e, struct{}{}))
	}
	b := openBook(t, m)
	must[int](t)(write.Call(ctx, b, entry{Add: 1}))
	kill(t, m)

	restore := swapped(t, "changing, later")
	m = must[*manager.Manager](t)(manager.Start(o))
	l := must[*manager.Object[late]](t)(lates.Open(m, "x"))
	for range 2 {
		_, err := count2.Call(ctx, l, struct{}{})
		if !errors.Is(err, manager.ErrType) || !strings.Contains(err.Error(), `cannot be decoded as "changing"`) || errors.Is(err, manager.ErrUndone) {
			t.Errorf("another type: %v", err)
		}
	}
	if n, err := write.Call(ctx, openBook(t, m), entry{Add: 1}); n != 102 || err != nil {
		t.Errorf("another object: %d, %v", n, err)
	}
	kill(t, m)
	restore()

	restore = swapped(t, "changing, grown")
	m = must[*manager.Manager](t)(manager.Start(o))
	g := must[*manager.Object[grown]](t)(growns.Open(m, "x"))
	for _, want := range []string{"5a", "5aa"} {
		if s, err := grow.Call(ctx, g, "a"); s != want || err != nil {
			t.Errorf("with one field more: %q, %v; want %q", s, err, want)
		}
	}
	kill(t, m)
	restore()

	m = start(t, o)
	e = must[*manager.Object[early]](t)(earlies.Open(m, "x"))
	if n, err := addOne.Call(ctx, e, struct{}{}); n != 6 || err != nil {
		t.Errorf("the first type again: %d, %v", n, err)
	}
}

// What can never be kept is refused where it is registered, with the path to it.
func TestDurableRefusals(t *testing.T) {
	type in[T any] struct{ Deep []map[string]T }
	type counter struct{ n int }
	_ = counter{}.n
	panics := func(f func()) (text string) {
		defer func() { text = fmt.Sprint(recover()) }()
		f()
		return ""
	}
	for want, text := range map[string]string{
		"counter.n: an unexported field cannot be kept; export it": panics(func() { manager.MakeDurable[counter]() }),
		"Deep[…][…]: a sync.Mutex cannot be kept; leave it out":    panics(func() { manager.MakeDurable[in[sync.Mutex]]() }),
		"Deep[…][…]: a chan int cannot be kept":                    panics(func() { manager.MakeDurable[in[chan int]]() }),
		"Deep[…][…]: a *psync.Mutex cannot be kept; handles to":    panics(func() { manager.MakeDurable[in[*psync.Mutex]]() }),
		"Deep[…][…]: a *manager.Manager cannot be kept; handles":   panics(func() { manager.MakeDurable[in[*manager.Manager]]() }),
		"Deep[…][…]: a *os.File cannot be kept":                    panics(func() { manager.MakeDurable[in[*os.File]]() }),
		"Type.Durable of book after process.Main":                  panics(func() { books.Durable() }),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it says\n%s\nand not\n%s", text, want)
		}
	}
}

type counting struct {
	B *manager.Object[book]
	W *os.File // a line for each call that was acknowledged: what the book was at
}

// countOn adds to the book until the server is gone.
var countOn = process.Register(func(ctx context.Context, c counting) error {
	for i := 0; ; i++ {
		n, err := write.Call(ctx, c.B, entry{Add: 1, Note: fmt.Sprint(i % 10), Long: rand.IntN(300)})
		if errors.Is(err, manager.ErrDown) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(c.W, "%d\n", n); err != nil {
			return err
		}
	}
})

// lookOn reads it.
var lookOn = process.Register(func(ctx context.Context, c counting) error {
	for {
		b, err := read.Call(ctx, c.B, nil)
		if errors.Is(err, manager.ErrDown) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(c.W, "%d\n", b.N); err != nil {
			return err
		}
	}
})

// The server is killed again and again while clients add to a durable object, in the midst of snapshots too. Each time it is at least at what anybody has heard of, and at
// most at what was tried.
func TestDurableKilledUnderCallers(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	ctx := testContext(t)
	const adders, readers = 3, 1
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	manager.TuneJournal(t, 20_000, time.Millisecond, 0)
	for _, sync := range []manager.Sync{manager.SyncEachSecond, manager.SyncAlways} {
		o := manager.Options{Path: t.TempDir(), Sync: sync}
		least, most, acknowledged := 100, 100, 0
		for round := range rounds {
			m := must[*manager.Manager](t)(manager.Start(o))
			b := openBook(t, m)
			now, err := read.Call(ctx, b, nil)
			if err != nil || now.N < least || now.N > most {
				t.Fatalf("round %d: the book is at %d, %v; %d was seen, and at most %d is possible", round, now.N, err, least, most)
			}
			type heard struct{ calls, highest int }
			adds, reads := make(chan heard, adders), make(chan heard, readers)
			working := make(chan struct{}, adders+readers)
			var ps []*process.Process
			for i := range adders + readers {
				r, w, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				f, ends := countOn, adds
				if i >= adders {
					f, ends = lookOn, reads
				}
				ps = append(ps, run(t, f, counting{b, w}))
				w.Close()
				go func() {
					defer r.Close()
					var h heard
					for {
						var n int
						if _, err := fmt.Fscanln(r, &n); err != nil {
							ends <- h
							return
						}
						if h.calls++; h.calls == 1 {
							working <- struct{}{}
						}
						h.highest = max(h.highest, n)
					}
				}()
			}
			for range adders + readers {
				<-working
			}
			for range random.IntN(1000) {
				must[manager.Stats](t)(m.Stats(ctx))
			}
			kill(t, m)
			least, most = now.N, now.N+adders // those under way
			for range adders {
				h := <-adds
				acknowledged += h.calls
				least, most = max(least, h.highest), most+h.calls
			}
			if least < most-adders {
				t.Errorf("round %d: %d calls were acknowledged, and the highest number that one returned is %d", round, most-adders-now.N, least)
			}
			for range readers {
				least = max(least, (<-reads).highest)
			}
			join(t, ps...)
		}
		t.Logf("%d calls were acknowledged in %d rounds", acknowledged, rounds)
	}
}

// passing is what a type is before anybody thinks of keeping it.
type passing struct{ N int }

var (
	passings = manager.Register[passing]("changing, not kept", nil)
	pass     = manager.RegisterMethod(passings, func(p *passing, _ context.Context, _ struct{}) (int, error) { p.N++; return p.N, nil })
)

// What a server has noted of a type that was not Durable, one can go on with for which it is, and the other way round: that one does not touch what is kept.
func TestDurableLater(t *testing.T) {
	ctx := testContext(t)
	o := manager.Options{Path: t.TempDir()}
	before := func(want int) {
		t.Helper()
		defer swapped(t, "changing, not kept")()
		m := must[*manager.Manager](t)(manager.Start(o))
		defer kill(t, m)
		p := must[*manager.Object[passing]](t)(passings.Open(m, "x"))
		if n, err := pass.Call(ctx, p, struct{}{}); n != want || err != nil {
			t.Errorf("not durable: %d, %v; want %d", n, err, want)
		}
	}
	after := func(want int) {
		t.Helper()
		m := must[*manager.Manager](t)(manager.Start(o))
		defer kill(t, m)
		e := must[*manager.Object[early]](t)(earlies.Open(m, "x"))
		if n, err := addOne.Call(ctx, e, struct{}{}); n != want || err != nil {
			t.Errorf("durable: %d, %v; want %d", n, err, want)
		}
	}
	before(1)
	before(1)
	after(1)
	after(2)
	before(1)
	after(3)
}

// An object that cannot be kept from the beginning is not there for anybody.
func TestDurableNewObject(t *testing.T) {
	m, ctx := start(t, manager.Options{MaxMessage: 5000}), testContext(t)
	f := must[*manager.Object[fat]](t)(fats.New(m))
	for range 2 {
		_, err := fatten.Call(ctx, f, 1)
		var method *manager.MethodError
		if !errors.Is(err, manager.ErrTooLarge) || errors.Is(err, manager.ErrUndone) || errors.As(err, &method) {
			t.Errorf("%v", err)
		}
	}
}

type fat struct{ B []byte }

var (
	fats   = manager.Register("fat", func() *fat { return &fat{make([]byte, 6000)} }).Durable()
	fatten = manager.RegisterMethod(fats, func(f *fat, _ context.Context, n int) (int, error) {
		f.B = append(f.B, make([]byte, n)...)
		return len(f.B), nil
	})
)

// A moody type's own methods fail in every way.
type moody struct {
	mood string
	n    byte
}

func (m *moody) MarshalBinary() ([]byte, error) {
	switch m.mood {
	case "error":
		return nil, errSpoiled
	case "panic":
		panic("it cannot be written")
	case "exit":
		runtime.Goexit()
	}
	return []byte{m.n}, nil
}

func (m *moody) UnmarshalBinary(b []byte) error {
	switch m.n = b[0]; m.n {
	case 77:
		return errors.New("it cannot be read")
	case 78:
		panic("it cannot be read at all")
	}
	return nil
}

var (
	moodies = manager.Register[moody]("moody", nil).Durable()
	upset   = manager.RegisterMethod(moodies, func(m *moody, _ context.Context, mood string) (int, error) {
		m.n++
		m.mood = mood
		return int(m.n), nil
	})
	setTo = manager.RegisterMethod(moodies, func(m *moody, _ context.Context, n int) (int, error) { m.n = byte(n); return n, nil })
	look  = manager.RegisterMethod(moodies, func(m *moody, _ context.Context, _ struct{}) (int, error) { return int(m.n), nil }).Concurrent()
)

// Whatever the methods do by which a type writes and reads itself, it is an error of the call, and the object and the server go on.
func TestDurableOwnEncoding(t *testing.T) {
	m, ctx := start(t, manager.Options{}), testContext(t)
	o := must[*manager.Object[moody]](t)(moodies.New(m))
	for mood, text := range map[string]string{"error": "told to fail", "panic": "it cannot be written", "exit": "runtime.Goexit"} {
		if _, err := upset.Call(ctx, o, mood); !errors.Is(err, manager.ErrUndone) || !strings.Contains(err.Error(), text) || (mood == "error") != errors.Is(err, errSpoiled) {
			t.Errorf("%s: %v", mood, err)
		}
		if n, err := look.Call(ctx, o, struct{}{}); n != 0 || err != nil {
			t.Errorf("%s: %d, %v", mood, n, err)
		}
	}
	if n, err := upset.Call(ctx, o, ""); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for n, text := range map[int]string{77: "it cannot be read", 78: "it cannot be read at all"} {
		must[int](t)(setTo.Call(ctx, o, n))
		if _, err := look.Call(ctx, o, struct{}{}); !errors.Is(err, manager.ErrType) || !strings.Contains(err.Error(), text) {
			t.Errorf("%d: %v", n, err)
		}
	}
}
