package manager_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os/exec"
	"reflect"
	"testing"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/psync"
)

type citizen struct {
	Name string
	Age  int8
	Tags []string
}

// What docs/protocol.md says is enough for a client in another language, which shares containers with this program, waits for it, and dies like any other.
func TestClientInPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err == nil {
		err = exec.Command(python, "-c", "import sys; sys.exit(sys.version_info < (3, 8))").Run()
	}
	if err != nil {
		t.Skip("no Python from 3.8 on")
	}
	ctx := testContext(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const key = "what both know"
	m := start(t, manager.Options{Network: "tcp", Address: "127.0.0.1:0", AuthKey: []byte(key)})
	people, err := manager.OpenDict[string, citizen](m, "people")
	must(err)
	must(people.Set(ctx, "ann", citizen{"Ann", 30, []string{"a", "b"}}))
	jobs, err := manager.OpenQueue[citizen](m, "jobs")
	must(err)
	lock, err := manager.OpenMutex(m, "lock")
	must(err)

	_, port, err := net.SplitHostPort(m.Addr().String())
	must(err)
	c := exec.CommandContext(ctx, python, "testdata/client.py", port, key)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	in, err := c.StdinPipe()
	must(err)
	out, err := c.StdoutPipe()
	must(err)
	must(c.Start())
	defer c.Wait()
	defer c.Process.Kill()
	words := bufio.NewScanner(out)
	reaches := func(word string) {
		t.Helper()
		if !words.Scan() || words.Text() != word {
			c.Wait()
			t.Fatalf("it says %q instead of %q: %s", words.Text(), word, stderr.String())
		}
	}
	goOn := func() { io.WriteString(in, "\n") }

	reaches("waiting")
	must(jobs.Put(ctx, citizen{"job", 1, []string{}}))
	goOn()
	reaches("watching")
	_, err = manager.OpenValue(m, "seen", 17)
	must(err)
	goOn()
	reaches("locked")
	got, err := people.Snapshot(ctx)
	if want := map[string]citizen{"ann": {"Ann", 31, []string{"a", "b", "c"}}, "bob": {"Bob", 41, nil}}; !reflect.DeepEqual(got, want) {
		t.Errorf("people: %v, %v", got, err)
	}
	all, err := manager.OpenList[*manager.List[string]](m, "all")
	must(err)
	lines, err := all.Get(ctx, 0)
	must(err)
	if s, err := lines.Snapshot(ctx); !reflect.DeepEqual(s, []string{"one", "two"}) {
		t.Errorf("the list in the list: %q, %v", s, err)
	}
	if ok, err := lock.TryLock(); ok || err != nil {
		t.Errorf("a lock that another program holds: %v, %v", ok, err)
	}
	must(c.Process.Kill())
	if err := lock.Lock(ctx); !errors.Is(err, psync.ErrOwnerDied) {
		t.Errorf("after its end: %v", err)
	}
}
