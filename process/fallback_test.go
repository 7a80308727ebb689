//go:build linux

package process

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"
)

// Where there are no pidfds, everything goes the long way.
func TestWithoutPidfd(t *testing.T) {
	pidfdWorks.once.Do(func() { pidfdWorks.yes = true })
	was := pidfdWorks.yes
	pidfdWorks.yes = false
	defer func() { pidfdWorks.yes = was }()

	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var pidfd int
	for _, test := range []struct {
		name string
		stop func(*Process) error
		want ExitError
	}{
		{"kill", (*Process).Kill, ExitError{Code: -1, Signal: syscall.SIGKILL}},
		{"terminate", (*Process).Terminate, ExitError{Code: 1, Err: "asked to end"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			p := New(sayThenWait, struct{}{})
			p.Stdout = w
			p.SysProcAttr = &syscall.SysProcAttr{PidFD: &pidfd}
			err = p.Start()
			w.Close()
			if err != nil {
				t.Fatal(err)
			}
			syscall.Close(pidfd)
			if p.child.fallback == nil {
				t.Fatal("there is a pidfd")
			}
			if _, err := r.Read(make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			if !p.Alive() {
				t.Error("not alive")
			}
			if err := test.stop(p); err != nil {
				t.Error(err)
			}
			var e *ExitError
			if err := p.Join(ctx); !errors.As(err, &e) {
				t.Fatal(err)
			}
			if e.Code != test.want.Code || e.Signal != test.want.Signal || e.Err != test.want.Err {
				t.Errorf("%+v, want %+v", e, test.want)
			}
			if err := test.stop(p); err != nil {
				t.Errorf("after the end: %v", err)
			}
		})
	}
}

var sayThenWait = Register(func(ctx context.Context, _ struct{}) error {
	os.Stdout.WriteString("ready")
	<-ctx.Done()
	return errors.New("asked to end")
})

// Something else in the program may collect all children that it finds, as programs do that are process 1 of a container.
func TestCollectedBySomebodyElse(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	p := New(sayThenWait, struct{}{})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p.Stdout = w
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := r.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := p.Terminate(); err != nil {
		t.Fatal(err)
	}
	// Which of the two is faster is open: this tries both, and Join knows in both cases.
	syscall.Wait4(p.PID(), nil, 0, nil)
	var e *ExitError
	if err := p.Join(ctx); !errors.As(err, &e) || e.Code != 1 || e.Err != "asked to end" {
		t.Errorf("Join: %v", err)
	}
}
