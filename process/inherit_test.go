//go:build linux

package process_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-multiproc/multiproc/process"
)

var (
	inheritedList = process.Inherit([]string{"initial"})
	inheritedFile = process.Inherit[*os.File](nil)
	inheritedLock = process.Inherit[*sync.Mutex](nil) // cannot cross unless it is nil
)

var lookAround = process.Register(func(_ context.Context, depth int) error {
	list := inheritedList.Get()
	fmt.Printf("%v %t\n", list, inheritedFile.Get() != nil)
	inheritedList.Set(append(slices.Clone(list), "child"))
	if f := inheritedFile.Get(); f != nil {
		fmt.Fprintln(f, "from the child")
	}
	if depth == 0 {
		return nil
	}
	p := process.New(lookAroundAgain(), depth-1)
	p.Method = process.Current().Method
	if err := p.Start(); err != nil {
		return err
	}
	return p.Join(context.Background())
})

var lookAroundAgain func() *process.Func[int]

func init() { lookAroundAgain = func() *process.Func[int] { return lookAround } }

// setInherited gives the variables a content for the time of the test.
func setInherited(t *testing.T, list []string, f *os.File) {
	inheritedList.Set(list)
	inheritedFile.Set(f)
	t.Cleanup(func() {
		inheritedList.Set([]string{"initial"})
		inheritedFile.Set(nil)
	})
}

func TestInherit(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, test := range []struct {
		method process.Method
		out    string
		file   string
	}{
		{process.Spawn, "[initial] false\n[initial] false\n", ""},
		{process.Fork, "[parent] true\n[parent child] true\n", "from the child\nfrom the child\n"},
		{process.ForkServer, "[initial] false\n[initial] false\n", ""},
	} {
		t.Run(test.method.String(), func(t *testing.T) {
			setInherited(t, []string{"parent"}, f)
			if err := f.Truncate(0); err != nil {
				t.Fatal(err)
			}
			out := run(t, lookAround, 1, func(p *process.Process) { p.Method = test.method })
			if out != test.out {
				t.Errorf("the children saw %q, want %q", out, test.out)
			}
			if got := inheritedList.Get(); !slices.Equal(got, []string{"parent"}) {
				t.Errorf("the parent's list has become %v", got)
			}
			if b, err := os.ReadFile(name); string(b) != test.file || err != nil {
				t.Errorf("file has %q %v, want %q", b, err, test.file)
			}
		})
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Errorf("the parent's file: %v", err)
	}
}

// The copy is made at Start.
func TestInheritIsASnapshot(t *testing.T) {
	setInherited(t, []string{"before"}, nil)
	p := process.New(lookAround, 0)
	p.Method = process.Fork
	p.Env = append(os.Environ(), stopMarker+"=1")
	out := output(t, p)
	mustStart(t, p)
	p.Stdout.Close()
	inheritedList.Set([]string{"after"})
	continueStopped(t, p)
	if b, err := io.ReadAll(out); string(b) != "[before] false\n" || err != nil {
		t.Errorf("%q %v", b, err)
	}
	join(t, p)
}

func TestInheritRefusesAtStart(t *testing.T) {
	inheritedLock.Set(new(sync.Mutex))
	defer inheritedLock.Set(nil)
	p := process.New(nothing, struct{}{})
	p.Method = process.Fork
	err := p.Start()
	if err == nil || !strings.Contains(err.Error(), "of 5): a sync.Mutex cannot be passed to another process") {
		t.Errorf("Start: %v", err)
	}
	p.Method = process.Spawn // which takes no copy
	mustStart(t, p)
	join(t, p)
}

// moreInheritMarker makes a process declare one variable more.
const moreInheritMarker = "PROCESS_TEST_MORE_INHERIT"

var inheritedLast = process.Inherit(0)

func init() {
	if os.Getenv(moreInheritMarker) != "" {
		process.Inherit("one more")
	}
}

func TestInheritDiffersInChild(t *testing.T) {
	p := process.New(nothing, struct{}{})
	p.Method = process.Fork
	p.Env = append(os.Environ(), moreInheritMarker+"=1")
	mustStart(t, p)
	if e := joinError(t, p); e.Code != 1 || !strings.Contains(e.Err, "other Inherit variables than its parent, which has 5 (the child 6)") {
		t.Error(e)
	}
	_ = inheritedLast
}
