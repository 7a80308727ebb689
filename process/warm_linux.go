package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/standard"
	"github.com/go-multiproc/multiproc/internal/wire"
)

// This file is the parent's end of a child that is executed before there is a job for it, idle_linux.go the child's.
//
//	parent                              child
//	executeWarm: write noJobYet
//	       execute it                   adopt the socket
//	                                    read that, initialise all packages
//	                                    write "ready"
//	Start: write the job                read it, make adjustments
//	                                    write "taken"
//	       read that                    call the function
//	                                    …
//
// "taken" is what makes it certain that a child which died before it had the job is not the one that Start returns: one that
// was killed a moment ago still takes what is written to its socket. It takes some 50 µs. A child that is stopped says nothing, so that Start
// does not wait for it: it will run when it can, as any process that was started.

const (
	// takenLook is after what time without an answer Start looks what is the matter with the child.
	takenLook = 5 * time.Millisecond

	// takenTime is when it gives up, for whatever reason: a debugger, a cgroup that is frozen.
	takenTime = time.Second
)

// errNotTaken says that a child died before it took its job.
var errNotTaken = errors.New("the child died before it took its job")

// A warmChild is a child for the method forkserver. From its beginning a goroutine waits for its end: it is nobody's until
// it is given a job, and then that of a Process.
type warmChild struct {
	launched
	began *circumstances

	ready   bool          // guarded by the stock's mu
	died    error         // set before settled is closed, if it ended before it was ready
	settled chan struct{} // closed when it is ready, or is not in the stock any more
	quiet   chan struct{} // closed when nobody but Start and collect reads conn any more
	verdict chan *Process // whose it is, once it has left the stock; nil if nobody's
	gone    chan struct{} // closed when it has ended, if it is nobody's
}

// executeWarm executes a child that has no job yet, and puts it into the stock.
func executeWarm(s *stock, now *circumstances) (*warmChild, error) {
	w := &warmChild{
		began:   now,
		settled: make(chan struct{}),
		quiet:   make(chan struct{}),
		verdict: make(chan *Process, 1),
		gone:    make(chan struct{}),
	}
	var err error
	w.launched, err = launch(now.execute(nil), func(conn *wire.Conn) error {
		return conn.WriteFrame(noJobYet, nil)
	})
	if err != nil {
		return nil, err
	}
	if !s.put(w) {
		w.letGo()
	}
	go w.listen(s)
	go w.collect(s)
	return w, nil
}

// settleLocked says that the stock need not wait for it to become ready.
func (w *warmChild) settleLocked() {
	select {
	case <-w.settled:
	default:
		close(w.settled)
	}
}

// listen waits until the child is ready. If it has got a job before, what it says is the result, which is not for us.
func (w *warmChild) listen(s *stock) {
	defer close(w.quiet)
	if err := w.conn.Park(); err != nil || !s.has(w) {
		return
	}
	frame, fds, err := w.conn.ReadFrame(maxFrame)
	closeAll(fds)
	if err == nil && len(frame) == 0 {
		s.isReady(w)
	}
}

// handOver gives the child its job. The error is errNotTaken if it was dead by then, else it is the same for every child. The messages
// stay the caller's.
func (w *warmChild) handOver(header jobHeader, parts []*handover.Message, ready bool) error {
	if err := sendJob(w.conn, header, parts); err != nil {
		if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
			return errNotTaken
		}
		return err
	}
	if !ready {
		// Its packages are being initialised, for which nobody can say how long it takes. The job waits for it, as that of a child which
		// is executed now would. It may never say that it is ready.
		w.conn.SetReadDeadline(time.Unix(0, 1))
		<-w.quiet
		w.conn.SetReadDeadline(time.Time{})
		return nil
	}
	frame, fds, err := w.answer()
	defer closeAll(fds)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	case err != nil:
		return errNotTaken
	case len(frame) > 0: // instead of "taken"
		r, err := parseResult(frame, fds)
		if err != nil {
			return err
		}
		text, _ := r.text()
		return errors.New(text)
	}
	return nil
}

// answer waits for what the child says of its job.
func (w *warmChild) answer() (frame []byte, fds []int, err error) {
	defer w.conn.SetReadDeadline(time.Time{})
	for begin := time.Now(); ; {
		w.conn.SetReadDeadline(time.Now().Add(takenLook))
		frame, fds, err = w.conn.ReadFrame(maxFrame)
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) > takenTime || isStopped(w.child.pid) {
			return frame, fds, err
		}
	}
}

// isStopped reports whether a child of ours was stopped by a signal, or by a debugger.
func isStopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// "pid (name) state": the name may have anything in it.
	_, state, ok := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(") "))
	return ok && len(state) > 0 && (state[0] == 'T' || state[0] == 't')
}

// startWarm starts p by the method forkserver. The child is to be told that it becomes p, unless it is nil: then one was
// executed for the job. args stays the caller's.
func (p *Process) startWarm(header jobHeader, args *handover.Message, had standard.Variables, stderr *os.File) (launched, *warmChild, error) {
	a, adjustments, err := p.adjustments(stderr)
	if err != nil {
		return launched{}, nil, err
	}
	defer closeAll(adjustments.FDs)
	parts := []*handover.Message{args, adjustments}

	// These are to hold when Start returns, so that the child must be able to say that they do.
	now := circumstancesNow(had)
	w, err := warm.give(header, parts, now, a.setsid || a.setpgid)
	if err != nil {
		return launched{}, nil, err
	}
	var l launched
	if w != nil {
		l = w.launched
	} else {
		attr := a.attributesForExec()
		adjustments.Data = a.encode()
		l, err = launch(now.execute(attr), func(conn *wire.Conn) error { return sendJob(conn, header, parts) })
		if err != nil {
			return l, nil, err
		}
	}
	if p.SysProcAttr != nil && p.SysProcAttr.PidFD != nil {
		*p.SysProcAttr.PidFD = l.child.dupPidfd()
	}
	return l, w, nil
}

// become says whose it is. That must be in the family by then.
func (w *warmChild) become(p *Process) {
	w.verdict <- p
	warm.passes()
}

// letGo ends a child that is not in the stock any more and has no job. It is killed, which ends one that is stopped as well.
func (w *warmChild) letGo() {
	w.child.signal(syscall.SIGKILL)
	w.verdict <- nil
}

// collect waits for the child's end.
func (w *warmChild) collect(s *stock) {
	victims := ours()
	status, used, err := w.child.wait()
	var p *Process
	if !s.drop(w, status) {
		p = <-w.verdict
	}
	if p == nil {
		w.conn.Close()
		<-w.quiet
		unix.Close(w.crash)
		w.child.release()
		close(w.gone)
		s.passes()
		return
	}
	w.conn.Control(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RD) })
	<-w.quiet
	p.settings.victims = victims
	p.collected(status, used, err)
}

// earlyEnd says how a child ended that was not ready.
func earlyEnd(status syscall.WaitStatus) error {
	if status.Signaled() {
		return fmt.Errorf("one was ended by signal %d (%v) before it was ready", int(status.Signal()), status.Signal())
	}
	return fmt.Errorf("one exited with code %d before it was ready", status.ExitStatus())
}
