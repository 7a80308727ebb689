package inspect_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/eventcount"
	"github.com/go-multiproc/multiproc/internal/inspect"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/seg"
)

func TestMain(m *testing.M) {
	reexec.Main(m, map[string]reexec.Helper{"user": helperUser})
}

// helperUser opens the segment in descriptor 3, sleeps on its second word when told to, and
// says under which token.
func helperUser([]string) int {
	h, err := seg.Attach(3, "", "test", "", false)
	if err != nil {
		panic(err)
	}
	fmt.Println(h.Mapping().Token())
	in := bufio.NewReader(os.Stdin)
	in.ReadString('\n')
	c := eventcount.At(h.Mapping(), h.Mapping().MetaOffset()+8)
	c.Wait(context.Background(), eventcount.Wanted{Try: func() (bool, error) { return false, nil }, Handle: h})
	return 0
}

func TestUsers(t *testing.T) {
	h, err := seg.New(seg.Spec{Kind: "test", Data: 100, Meta: 64})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(nil)
	fd, err := h.Reopen()
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "segment")
	defer file.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	id := inspect.File{Dev: st.Dev, Ino: st.Ino}
	users := func() map[int]inspect.User {
		t.Helper()
		all, err := inspect.Users(id)
		if err != nil {
			t.Fatal(err)
		}
		m := map[int]inspect.User{}
		for _, u := range all[id] {
			m[u.PID] = u
		}
		return m
	}

	p := reexec.Start(t, "user", []*os.File{file})
	var token uint64
	fmt.Sscan(p.Line(), &token)
	us := users()
	if len(us) != 2 {
		t.Fatalf("%d users, want this process and its helper: %v", len(us), us)
	}
	if u := us[os.Getpid()]; u.Token != h.Mapping().Token() || u.Command == "" {
		t.Errorf("this process: %+v, want token %d", u, h.Mapping().Token())
	}
	if u := us[p.Cmd.Process.Pid]; u.Token != token || len(u.Asleep) != 0 {
		t.Errorf("the helper: %+v, want token %d, awake", u, token)
	}

	p.Say("sleep")
	at := int64(h.Mapping().MetaOffset() + 8)
	for begin := time.Now(); !users()[p.Cmd.Process.Pid].SleepsIn(at, 8); runtime.Gosched() {
		if time.Since(begin) > 60*time.Second {
			t.Fatalf("the helper is not seen asleep at %d: %+v", at, users())
		}
	}
	if u := users()[p.Cmd.Process.Pid]; u.SleepsIn(at-8, 8) || u.SleepsIn(at+8, 8) {
		t.Errorf("asleep elsewhere: %+v", u)
	}
	p.Kill()
	if us := users(); len(us) != 1 {
		t.Errorf("after it was killed: %v", us)
	}
}
