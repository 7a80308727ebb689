package manager

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-multiproc/multiproc/process"
)

// A serverJob is what a server process is given.
type serverJob struct {
	Listener net.Listener
	Lifeline *os.File // its end says that the owner has ended
	Files    string   // a directory or socket to be removed in the end
	Options  Options
	Tuning   tuning
	TLS      *serverTLS // Options.TLS, which does not cross
}

var serverFunc = process.RegisterName("github.com/go-multiproc/multiproc/manager", serve)

// servers counts those that this process has started, for their names.
var servers atomic.Int64

// endTime is how long a server may take to end before it is made to.
const endTime = 5 * time.Second

// serve is what a server process does.
func serve(ctx context.Context, job serverJob) error {
	defer os.RemoveAll(job.Files)
	config, err := job.TLS.config()
	if err != nil {
		return err
	}
	job.Options.TLS = config
	sv, err := newServer(job.Listener, job.Options, job.Tuning)
	if err != nil {
		return err
	}
	// Its owner may end by kill -9. The server then has still to remove its files, so it watches by itself instead of being
	// killed with its parent, as other children are.
	go func() {
		job.Lifeline.Read(make([]byte, 1))
		sv.stop("the process that started it has ended")
	}()
	go func() {
		select {
		case <-ctx.Done():
			sv.stop("it was terminated")
		case <-sv.stopping:
		}
		time.AfterFunc(endTime, func() {
			os.RemoveAll(job.Files)
			os.Exit(1)
		})
	}()
	return sv.run()
}

// A serverProcess is a server that this process has started.
type serverProcess struct {
	process  *process.Process
	lifeline *os.File
	cleanup  func()
	gone     chan struct{} // closed when it has ended and its files are removed
}

// Start starts a server in a process of its own, which runs this program, and connects to it. The program must have called
// process.Main or process.Init (process.ErrNoMain).
//
// The server ends when the returned Manager is closed, when anybody calls Shutdown, and when this process ends, however it does.
// It listens on a Unix socket in a new private directory, unless the options say something else. A path that is given must not be in use; a
// socket that a killed server left there is replaced.
func Start(o Options) (*Manager, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	passed, pin, err := passTLS(o.TLS)
	if err != nil {
		return nil, err
	}
	l, t, cleanup, err := listen(o)
	if err != nil {
		return nil, err
	}
	if t.tls != nil {
		t.pinned, t.tls = pin[:], pinned(pin)
	}
	s, err := startServer(l, t, cleanup, o, passed)
	// The server has its own. Should it die, connections are to be refused and not to wait for nobody.
	l.Close()
	if err != nil {
		cleanup()
		return nil, err
	}
	c, _ := share(t, s.explain)
	ctx, cancel := answerSoon()
	defer cancel()
	if o.Path != "" {
		ctx = context.Background() // reading what is kept there takes as long as it takes; should the server die, that ends the wait
	}
	if err := c.waitReady(ctx); err != nil {
		err = errors.Join(noAnswer(c, err), s.close(nil))
		c.dropUser()
		return nil, err
	}
	go func() {
		<-s.gone
		c.ended() // also if nobody is making a call that would notice
	}()
	m := new(Manager)
	m.attach(c, s)
	return m, nil
}

func startServer(l net.Listener, t target, cleanup func(), o Options, passed *serverTLS) (*serverProcess, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("manager: %w", err)
	}
	defer r.Close()
	if o.Path != "" {
		if o.Path, err = filepath.Abs(o.Path); err != nil {
			return nil, fmt.Errorf("manager: Options.Path: %w", err)
		}
	}
	job := serverJob{Listener: l, Lifeline: r, Options: o, Tuning: tuned, TLS: passed}
	if t.network == "unix" {
		job.Files = t.address
		if o.private() {
			job.Files = filepath.Dir(t.address)
		}
	}
	p := process.New(serverFunc, job)
	p.Name = fmt.Sprintf("Manager-%d", servers.Add(1))
	p.Daemon = true
	p.Detach = true // it watches the lifeline
	// A Ctrl-C at the terminal goes to the whole process group. It is the owner's to decide what it means.
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.Start(); err != nil {
		w.Close()
		return nil, fmt.Errorf("manager: starting the server: %w", err)
	}
	s := &serverProcess{process: p, lifeline: w, cleanup: cleanup, gone: make(chan struct{})}
	go func() {
		<-p.Done()
		cleanup() // what it could not remove if it was killed
		w.Close()
		close(s.gone)
	}()
	return s, nil
}

// explain adds to the loss of a connection how the server has ended, if it has.
func (s *serverProcess) explain(err error) error {
	// Its end of the socket closes a moment before its end can be collected.
	select {
	case <-s.process.Done():
	case <-time.After(250 * time.Millisecond):
		return err
	}
	if exit := s.process.Join(context.Background()); exit != nil {
		return fmt.Errorf("%w: %w", exit, err)
	}
	return err
}

// wait waits until the server has ended and its files are removed.
func (s *serverProcess) wait(ctx context.Context) error {
	select {
	case <-s.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close shuts the server down, in the end by force. c may be nil.
func (s *serverProcess) close(c *client) error {
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	if c != nil {
		cl := newCall(opShutdown)
		if _, err := c.do(ctx, cl); err == nil {
			cl.free()
		}
	}
	s.lifeline.Close() // says the same, should it not have been heard
	if s.wait(ctx) == nil {
		return nil
	}
	err := s.process.Kill()
	<-s.gone
	return errors.Join(fmt.Errorf("manager: the server did not end within %v and was killed", endTime), err)
}
