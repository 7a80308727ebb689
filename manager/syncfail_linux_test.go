package manager_test

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/syncfault"
	"github.com/go-multiproc/multiproc/manager"
)

// While the disk does not sync, changes are refused with the reason and reading goes on, or, where nobody is to be told what was not synced, connections end;
// nothing that was acknowledged is lost; and it ends when the disk does so again.
func TestDiskDoesNotSync(t *testing.T) {
	if !inOwnProcess(t, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}) {
		return
	}
	faults, err := syncfault.Install()
	if err != nil {
		t.Skip(err)
	}
	manager.TuneJournal(t, 0, 10*time.Millisecond, 1<<20)
	for _, test := range []struct {
		name string
		sync manager.Sync
	}{{"each second", manager.SyncEachSecond}, {"always", manager.SyncAlways}} {
		t.Run(test.name, func(t *testing.T) { testDiskDoesNotSync(t, faults, test.sync) })
	}
}

func testDiskDoesNotSync(t *testing.T, faults *syncfault.Faults, sync manager.Sync) {
	ctx := testContext(t)
	o := manager.Options{Path: t.TempDir(), Sync: sync}
	address := filepath.Join(socketDir(t), "server")
	always := sync == manager.SyncAlways
	acknowledged := 0
	for round := range 3 {
		l, err := net.Listen("unix", address)
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- manager.Serve(l, o) }()

		var m *manager.Manager
		var d *manager.Dict[int, int]
		connect := func() error {
			if m, err = manager.Connect(ctx, "unix", address, manager.Options{}); err != nil {
				t.Fatal(err)
			}
			d, err = manager.OpenDict[int, int](m, "d")
			return err
		}
		if err := connect(); err != nil {
			t.Fatal(err)
		}
		check := func(when string) {
			t.Helper()
			all, err := d.Snapshot(ctx)
			if err != nil || len(all) != acknowledged {
				t.Fatalf("round %d, %s: %d entries, and %d were acknowledged: %v", round, when, len(all), acknowledged, err)
			}
		}
		check("after the start")
		if err := d.Set(ctx, acknowledged, 1); err != nil {
			t.Fatal(err)
		}
		acknowledged++

		faults.Fail(syscall.EIO)
		for {
			if err = d.Set(ctx, acknowledged, 1); err != nil {
				break
			}
			if always {
				t.Fatal("acknowledged, and not synced")
			}
			acknowledged++
		}
		want := manager.ErrJournal
		if always {
			want = manager.ErrDown
		}
		if !errors.Is(err, want) || !strings.Contains(err.Error(), syscall.EIO.Error()) {
			t.Fatalf("round %d: %v", round, err)
		}
		if always {
			m.Close()
			if err := connect(); !errors.Is(err, manager.ErrDown) || !strings.Contains(err.Error(), syscall.EIO.Error()) {
				t.Fatalf("round %d: a new connection is told %v", round, err)
			}
		} else {
			check("not synced")
			if _, err := d.Delete(ctx, 0); !errors.Is(err, manager.ErrJournal) {
				t.Errorf("a deletion that the disk may not have: %v", err)
			}
			if s, err := m.Stats(ctx); err != nil || s.JournalError == "" || s.Unsynced == 0 {
				t.Errorf("round %d: %+v, %v", round, s, err)
			}
		}

		faults.Fail(0)
		for {
			if always {
				m.Close()
				err = connect()
			}
			if err == nil || !always {
				err = d.Set(ctx, acknowledged, 1)
			}
			if err == nil {
				break
			}
			if !errors.Is(err, want) && !errors.Is(err, manager.ErrJournal) { // which goes on for a moment
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond) // it tries by itself, from time to time
		}
		// Whether what was not acknowledged was done is not known to who was not told: it is under the same key.
		acknowledged++
		check("synced again")
		if s, err := m.Stats(ctx); err != nil || s.JournalError != "" {
			t.Errorf("round %d: %+v, %v", round, s, err)
		}
		if err := m.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		if err := <-served; err != nil {
			t.Fatal(err)
		}
	}
	if faults.Failed() == 0 {
		t.Error("no fsync was made to fail")
	}
}
