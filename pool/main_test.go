package pool_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/pool"
	"github.com/go-multiproc/multiproc/process"
)

// play is what the test binary does when it is run as a scene, where there are scenes.
var play func(name string) int

func TestMain(m *testing.M) {
	if os.Getenv("POOL_TEST_NO_MAIN") != "" { // a program that does not call process.Main
		_, err := pool.New(pool.Options{Workers: 1})
		fmt.Print(errors.Is(err, process.ErrNoMain), " ", err)
		os.Exit(0)
	}
	process.Main(func() int {
		if name := os.Getenv("POOL_TEST_SCENE"); name != "" && play != nil {
			return play(name)
		}
		// Under the race detector every exit takes a second by default, to let reports come out.
		os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
		return m.Run()
	})
}

// deadline is far beyond what anything here takes, and short of the test's own end.
const deadline = 60 * time.Second

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// newPool makes a pool that is closed at the end of the test, and must come to its end then.
func newPool(t testing.TB, o pool.Options) *pool.Pool {
	t.Helper()
	p, err := pool.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Terminate()
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		if err := p.Join(ctx); err != nil {
			t.Errorf("the pool does not end: %v; %+v", err, p.Stats())
		}
	})
	return p
}

// executors are both kinds.
func executors(t *testing.T, test func(t *testing.T, e pool.Executor)) {
	t.Run("processes", func(t *testing.T) { test(t, newPool(t, pool.Options{Workers: 2, Grace: time.Second})) })
	t.Run("goroutines", func(t *testing.T) {
		g := pool.NewGoroutines(2)
		t.Cleanup(func() {
			g.Terminate()
			if err := g.Join(context.Background()); err != nil {
				t.Error(err)
			}
		})
		test(t, g)
	})
}
