package pool_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-multiproc/multiproc/pool"
	"github.com/go-multiproc/multiproc/process"
)

var printBoth = pool.Register(func(_ context.Context, s string) (int, error) {
	fmt.Fprint(os.Stderr, s)
	return fmt.Print(s)
})

// A worker is started when the pool needs it, and while the program may set its os.Stdout: it gets what
// there was when the pool was made.
func TestStandardFilesOfWorkers(t *testing.T) {
	for _, method := range []process.Method{process.Spawn, process.ForkServer} {
		t.Run(method.String(), func(t *testing.T) {
			ctx := within(t)
			file := func(name string) *os.File {
				f, err := os.Create(filepath.Join(t.TempDir(), name))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { f.Close() })
				return f
			}
			then, now := file("then"), file("now")
			stdout, stderr := os.Stdout, os.Stderr
			defer func() { os.Stdout, os.Stderr = stdout, stderr }()

			os.Stdout, os.Stderr = then, then
			p, err := pool.New(pool.Options{Workers: 1, Method: method})
			os.Stdout, os.Stderr = now, now
			if err != nil {
				t.Fatal(err)
			}
			if _, err := printBoth.Apply(ctx, p, "a"); err != nil {
				t.Fatal(err)
			}
			p.Close()
			if err := p.Join(ctx); err != nil {
				t.Fatal(err)
			}
			for f, want := range map[*os.File]string{then: "aa", now: ""} {
				if b, err := os.ReadFile(f.Name()); string(b) != want || err != nil {
					t.Errorf("%s has %q, %v; want %q", filepath.Base(f.Name()), b, err, want)
				}
			}
		})
	}
}
