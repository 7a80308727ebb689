//go:build multiproc_crash

package manager_test

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/manager"
)

// A server that is killed at any step of keeping an object has, when it is started again, all that was acknowledged, and at most the call under way.
func TestDurableCrashPoints(t *testing.T) {
	for _, label := range []string{"own.encoded", "own.kept", "journal.staging", "journal.staged", "journal.turned", "journal.written"} {
		for _, pass := range []int{1, 2, 3, 9} {
			for _, sync := range []manager.Sync{manager.SyncEachSecond, manager.SyncAlways} {
				if sync == manager.SyncAlways && (label == "journal.staging" || label == "journal.staged") {
					continue // nothing is staged
				}
				t.Run(fmt.Sprintf("%s %d sync %d", label, pass, sync), func(t *testing.T) {
					ctx := testContext(t)
					manager.TuneJournal(t, 5000, time.Millisecond, 1<<20)
					o := manager.Options{Path: t.TempDir(), Sync: sync}
					t.Setenv(crash.EnvVar, fmt.Sprintf("%s:%d", label, pass))
					acknowledged := 0
					m, err := manager.Start(o)
					if err == nil {
						b, oerr := books.Open(m, "book")
						for err = oerr; err == nil; {
							if _, err = write.Call(ctx, b, entry{Add: 1, Note: "n", Long: acknowledged * 10}); err == nil {
								acknowledged++
							}
						}
						if !errors.Is(err, manager.ErrDown) {
							t.Fatalf("the server did not die at %s: %v", label, err)
						}
						m.Close()
					}
					os.Unsetenv(crash.EnvVar)
					m = start(t, o)
					b := openBook(t, m)
					got, err := read.Call(ctx, b, nil)
					if err != nil || got.N < 100+acknowledged || got.N > 100+acknowledged+1 {
						t.Errorf("the book is at %d, %v; %d calls were acknowledged", got.N, err, acknowledged)
					}
				})
			}
		}
	}
}
