package shm_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"testing"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/shm"
)

// meetings is how often they meet.
const meetings = 30

// helperMeet joins a segment in the directory for each round that it is told of, adds 1 to what
// stands in it, and keeps it.
func helperMeet(args []string) int {
	for round := range meetings {
		fmt.Println("ready")
		reexec.WaitToBeTold()
		s, err := shm.OpenOrCreate(strconv.Itoa(round), 64, shm.Options{Dir: args[0]})
		if err != nil {
			fmt.Println(err)
			return 1
		}
		a, err := array.Over[int64](s, 0, 1)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		array.Add(a, 0, 1)
	}
	fmt.Println("ready")
	reexec.WaitToBeTold()
	return 0
}

// Whoever comes first: all are in the same segment.
func TestOpenOrCreateIsWhereAllMeet(t *testing.T) {
	const procs, rounds = 4, meetings
	o := shm.Options{Dir: tmpfs(t)}
	var ps []*reexec.Process
	for range procs {
		ps = append(ps, reexec.Start(t, "meet", nil, o.Dir))
	}
	ready := func() {
		t.Helper()
		for _, p := range ps {
			if l := p.Line(); l != "ready" {
				t.Fatal(l)
			}
		}
	}
	ready()
	for round := range rounds {
		for _, p := range ps {
			p.Say("")
		}
		ready()
		s, err := shm.Open(strconv.Itoa(round), o)
		verify.Must(t, err)
		a, err := array.Over[int64](s, 0, 1)
		verify.Must(t, err)
		if n := a.Load(0); n != procs {
			t.Errorf("round %d: %d of %d met", round, n, procs)
		}
		verify.Must(t, a.Close())
		verify.Must(t, s.Close())
	}
	for _, p := range ps {
		p.Kill()
	}
	if all, err := shm.Reap(o); len(all) != rounds || err != nil {
		t.Errorf("%d segments were left, %v", len(all), err)
	}
}

func TestOpenOrCreateRefuses(t *testing.T) {
	o := shm.Options{Dir: tmpfs(t)}
	s, err := shm.OpenOrCreate("s", 100, o)
	verify.Must(t, err)
	defer s.Close()
	same, err := shm.OpenOrCreate("s", 100, o)
	verify.Must(t, err)
	s.Bytes()[7] = 7
	if same.Bytes()[7] != 7 || same.Name() != "s" {
		t.Error("the second one is another segment")
	}
	verify.Must(t, same.Close())
	a, err := array.Create[int64]("a", 10, array.Options{Dir: o.Dir})
	verify.Must(t, err)
	defer a.Close()
	verify.Must(t, os.WriteFile(o.Dir+"/foreign", make([]byte, 100), 0o600))
	verify.Must(t, os.Symlink("nowhere", o.Dir+"/link"))
	for _, tt := range []struct {
		name string
		size int
		want error
	}{
		{"s", 101, shm.ErrType}, {"s", 99, shm.ErrType}, {"a", 80, shm.ErrType},
		{"foreign", 100, shm.ErrFormat}, {"link", 100, shm.ErrFormat},
		{"s", 0, fs.ErrInvalid}, {"", 100, fs.ErrInvalid},
	} {
		if s, err := shm.OpenOrCreate(tt.name, tt.size, o); s != nil || !errors.Is(err, tt.want) {
			t.Errorf("%q of %d bytes: %v, want %v", tt.name, tt.size, err, tt.want)
		}
	}
	if _, err := shm.OpenOrCreate("s", 1, shm.Options{Dir: o.Dir + "/nowhere"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a directory that is not there: %v", err)
	}
}
