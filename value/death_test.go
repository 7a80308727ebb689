package value_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/value"
)

// holdHelper takes the guard in the way that it is told, says so, and stays.
func holdHelper(args []string) int {
	var v *value.Value[sample]
	files, err := strconv.Atoi(args[2])
	if err != nil {
		panic(err)
	}
	if err := reexec.Take(args[0], files, &v); err != nil {
		fmt.Println(err)
		return 1
	}
	switch args[1] {
	case "Mutex":
		if err := v.Mutex().Lock(background); err != nil {
			panic(err)
		}
		fmt.Println("holding")
	case "Update":
		v.Update(background, func(s sample) sample {
			fmt.Println("holding")
			select {}
		})
	}
	select {}
}

func TestHolderDies(t *testing.T) {
	l, err := psync.NewFileLock(filepath.Join(t.TempDir(), "lock"))
	verify.Must(t, err)
	t.Cleanup(func() { verify.Must(t, l.Close()) })
	tests := []struct {
		how       string
		guard     psync.Locker
		abandoned bool
	}{
		{"Mutex", nil, true},
		{"Update", nil, false}, // it cannot have left anything half done
		{"Mutex", l, false},    // the kernel leaves no trace of it
		{"Update", l, false},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s of %T", tt.how, tt.guard), func(t *testing.T) {
			c, err := value.Create(name(t), sample{Total: 1}, value.Options{Guard: tt.guard})
			v := own(t, c, err)
			arg, files := reexec.Give(t, v)
			p := reexec.Start(t, "hold", files, arg, tt.how, strconv.Itoa(len(files)))
			if got := p.Line(); got != "holding" {
				t.Fatal(got)
			}
			add := func() error {
				_, err := v.Update(background, func(s sample) sample { s.Total++; return s })
				return err
			}
			wait := verify.Blocks(t, "Update", add)
			v.Store(sample{Total: 2}) // needs no guard
			p.Kill()
			err = wait()
			if tt.abandoned {
				if !errors.Is(err, psync.ErrOwnerDied) || v.Load().Total != 2 {
					t.Fatalf("Update after the death = %v, total %d", err, v.Load().Total)
				}
				if err := add(); !errors.Is(err, psync.ErrOwnerDied) {
					t.Errorf("second Update after the death = %v", err)
				}
				verify.Must(t, v.Mutex().Recover(background, func() error { v.Store(sample{Total: 2}); return nil }))
				err = add()
			}
			verify.Must(t, err)
			if got := v.Load().Total; got != 3 {
				t.Errorf("total %d", got)
			}
		})
	}
}

// stormHelper changes the value until it is killed.
func stormHelper(args []string) int {
	var v *value.Value[sample]
	if err := reexec.Take(args[0], 1, &v); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("writing")
	for n := int32(0); ; n++ {
		x := consistent(n)
		switch n % 3 {
		case 0:
			v.Store(x)
		case 1:
			if _, err := v.Update(background, func(sample) sample { return x }); err != nil {
				panic(err)
			}
		default:
			v.CompareAndSwap(v.Load(), x)
		}
	}
}

// consistent is a sample all of whose fields say the same.
func consistent(n int32) sample {
	return sample{At: float64(n), Count: [3]int32{n, n, n}, Flags: uint32(n), Total: int64(n)}
}

// Writers that are killed at random never leave, or show, half a value.
func TestStormOfKills(t *testing.T) {
	kills := 50
	if testing.Short() {
		kills = 20
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	c, err := value.New(consistent(0))
	v := own(t, c, err)
	arg, files := reexec.Give(t, v)
	ps := make([]*reexec.Process, 3)
	start := func(i int) {
		ps[i] = reexec.Start(t, "storm", files, arg)
		if got := ps[i].Line(); got != "writing" {
			t.Fatal(got)
		}
	}
	for i := range ps {
		start(i)
	}
	loads := 0
	for range kills {
		end := time.Now().Add(time.Duration(r.IntN(2000)) * time.Microsecond)
		for time.Now().Before(end) {
			loads++
			if s := v.Load(); s != consistent(s.Count[0]) {
				t.Fatalf("torn: %+v", s)
			}
		}
		i := r.IntN(len(ps))
		ps[i].Kill()
		start(i)
	}
	for _, p := range ps {
		p.Kill()
	}
	if s := v.Load(); s != consistent(s.Count[0]) {
		t.Errorf("torn in the end: %+v", s)
	}
	v.Store(consistent(-1))
	if _, err := v.Update(background, func(s sample) sample {
		if s != consistent(-1) {
			t.Errorf("Update sees %+v", s)
		}
		return s
	}); err != nil {
		t.Error(err)
	}
	t.Logf("%d loads", loads)
}
