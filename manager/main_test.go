package manager_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/process"
)

func TestMain(m *testing.M) {
	process.Init()
	// Under the race detector every exit takes a second by default, to let reports come out. Children inherit this.
	os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
	os.Exit(m.Run())
}

// patience is how long a test waits for what must come. It is never reached when all is well.
const patience = 30 * time.Second

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// start starts a server process for the test.
func start(t testing.TB, o manager.Options) *manager.Manager {
	t.Helper()
	m, err := manager.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("closing the manager: %v", err)
		}
	})
	return m
}
