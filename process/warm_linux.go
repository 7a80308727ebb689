package process

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/handover"
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
// was killed a moment ago still takes what is written to its socket. A child that says nothing for takenTime
// is stopped, or the machine has no time for it; it will run when it can, as any process that was started.

// takenTime is how long Start waits for a child to say that it has its job. It takes some 50 µs.
const takenTime = 5 * time.Millisecond

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
func executeWarm(s *stock) (*warmChild, error) {
	w := &warmChild{
		began:   circumstancesNow(),
		settled: make(chan struct{}),
		quiet:   make(chan struct{}),
		verdict: make(chan *Process, 1),
		gone:    make(chan struct{}),
	}
	var err error
	w.launched, err = launch(new(Process).executePlainly, func(conn *wire.Conn) error {
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

// listen waits until the child is ready.
func (w *warmChild) listen(s *stock) {
	defer close(w.quiet)
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
		// is executed now would.
		return nil
	}
	w.conn.SetReadDeadline(time.Now().Add(takenTime))
	frame, fds, err := w.conn.ReadFrame(maxFrame)
	defer closeAll(fds)
	w.conn.SetReadDeadline(time.Time{})
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

// startWarm starts p by the method forkserver. The child is to be told that it becomes p, unless it is nil: then one was
// executed for the job. args stays the caller's.
func (p *Process) startWarm(header jobHeader, args *handover.Message, stderr *os.File) (launched, *warmChild, error) {
	a, adjustments, err := p.adjustments(stderr)
	if err != nil {
		return launched{}, nil, err
	}
	defer closeAll(adjustments.FDs)
	parts := []*handover.Message{args, adjustments}

	// These are to hold when Start returns, so that the child must be able to say that they do.
	w, err := warm.give(header, parts, a.setsid || a.setpgid)
	if err != nil {
		return launched{}, nil, err
	}
	var l launched
	if w != nil {
		l = w.launched
	} else {
		plain := Process{SysProcAttr: a.attributesForExec()}
		adjustments.Data = a.encode()
		l, err = launch(plain.executePlainly, func(conn *wire.Conn) error { return sendJob(conn, header, parts) })
		if err != nil {
			return l, nil, err
		}
	}
	if p.SysProcAttr != nil && p.SysProcAttr.PidFD != nil {
		*p.SysProcAttr.PidFD = l.child.dupPidfd()
	}
	return l, w, nil
}

// executePlainly executes a child as this process is now.
func (p *Process) executePlainly(socket, crash int) (*child, error) {
	return p.execute(socket, crash, nil)
}

// become says whose it is. That must be in the family by then.
func (w *warmChild) become(p *Process) { w.verdict <- p }

// letGo ends a child that is not in the stock any more and has no job. It is killed, which ends one that is stopped as well.
func (w *warmChild) letGo() {
	w.child.signal(syscall.SIGKILL)
	w.verdict <- nil
}

// collect waits for the child's end.
func (w *warmChild) collect(s *stock) {
	victims := ours()
	status, cpu, err := w.child.wait()
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
		return
	}
	w.conn.Control(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RD) })
	<-w.quiet
	p.settings.victims = victims
	p.collected(status, cpu, err)
}

// earlyEnd says how a child ended that was not ready.
func earlyEnd(status syscall.WaitStatus) error {
	if status.Signaled() {
		return fmt.Errorf("one was ended by signal %d (%v) before it was ready", int(status.Signal()), status.Signal())
	}
	return fmt.Errorf("one exited with code %d before it was ready", status.ExitStatus())
}
