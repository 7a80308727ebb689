package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/standard"
	"github.com/go-multiproc/multiproc/internal/sys"
	"github.com/go-multiproc/multiproc/internal/wire"
)

// This file is the parent's end of a child's life, boot.go the child's.
//
//	parent                              child
//	Start: write the job
//	       execute it                   adopt the socket
//	                                    read the job, call the function
//	collect: wait for its end           write the result, exit
//	         read the result

// Start starts the child and returns once it is executed. It does not wait until the child has read its arguments,
// which are copied.
//
// Start returns [ErrNoMain] in a program that has called neither [Main] nor [Init], and [ErrStarted] if p was
// started before. If it fails in any other way (arguments that cannot cross, a limit of the system), p may be
// changed and started again, and all handles in the arguments are as they were.
//
// What goes wrong in the child, its arguments not arriving for example, is Join's to tell.
func (p *Process) Start() error { return p.startAs(standard.Now()) }

func init() {
	standard.Start = func(p any, had standard.Variables) error { return p.(*Process).startAs(had) }
}

// startAs is Start for a program that had this in package os.
func (p *Process) startAs(had standard.Variables) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.entry == nil:
		panic("process: a Process comes from process.New")
	case p.closed:
		return fmt.Errorf("process: start of a closed Process: %w", fs.ErrClosed)
	case p.child != nil:
		return ErrStarted
	case !begun.Load():
		return ErrNoMain
	}
	if p.Name == "" {
		p.Name = defaultName(p.number)
	}
	if err := p.startLocked(had); err != nil {
		return fmt.Errorf("process: start %s: %w", p.Name, explain(err))
	}
	return nil
}

func (p *Process) startLocked(had standard.Variables) error {
	method := p.Method
	if method == 0 {
		method = defaultMethod()
	}
	switch {
	case !method.valid():
		return fmt.Errorf("%v is no start method", method)
	}
	if err := p.Limits.check(p.SysProcAttr); err != nil {
		return err
	}
	stop, err := newStopSignals(p.StopSignals)
	if err != nil {
		return err
	}
	if p.CaptureStderr && p.Detach {
		return errors.New("CaptureStderr and Detach exclude each other: what goes through this process ends with it")
	}
	family.announce(method)
	s := started{name: p.Name, daemon: p.Daemon, detach: p.Detach, grace: p.Grace, deaf: signal.Ignored(syscall.SIGINT) || !stop.has(syscall.SIGINT), limits: p.Limits}
	if s.grace == 0 {
		s.grace = DefaultGrace
	}
	header := jobHeader{
		Func:    functions.Identify(p.entry),
		Info:    Info{Name: s.name, ParentPID: os.Getpid(), Method: method, Daemon: s.daemon},
		Parent:  Current(),
		Number:  childNumber(p.number),
		Detach:  s.detach,
		Default: defaultMethod(),
		Limits:  p.Limits.inherited(),
		Grace:   s.grace,
		Stop:    stop,
	}
	args, err := handover.Marshal(p.args, "args")
	if err != nil {
		return err
	}
	parts := []*handover.Message{args}
	defer func() { dropAll(parts) }() // after Sent, nothing
	if method == Fork {
		snapshot, err := inherits.snapshot()
		if err != nil {
			return err
		}
		parts = append(parts, snapshot...)
		header.Inherit = inherits.digest()
	}

	errs, stderr, err := p.newCapture(had)
	if err != nil {
		return err
	}
	if errs != nil {
		defer stderr.Close()
	}
	var logs *logSink
	if p.Log != nil {
		var socket int
		if logs, socket, err = newLogSink(p.Log); err != nil {
			if errs != nil {
				errs.close()
			}
			return err
		}
		defer unix.Close(socket)
		header.Log, header.LogLevel, header.logSocket = true, leastLevel(p.Log), socket
	}
	family.starting.RLock()
	defer family.starting.RUnlock()
	var l launched
	var early *warmChild // which runs already
	if method == ForkServer {
		l, early, err = p.startWarm(header, args, had, stderr)
	} else {
		s.victims = newVictims(p.SysProcAttr)
		execute := func(socket, crash int) (*child, error) { return p.execute(had, socket, crash, stderr) }
		l, err = launch(execute, func(conn *wire.Conn) error { return sendJob(conn, header, parts) })
	}
	if err != nil {
		if errs != nil {
			errs.close()
		}
		if logs != nil {
			logs.conn.Close()
		}
		return err
	}
	if errs != nil {
		go errs.run()
	}
	if logs != nil {
		go logs.run()
	}
	for _, m := range parts {
		m.Sent()
	}
	if early != nil {
		s.deaf = early.began.deaf || !stop.has(syscall.SIGINT)
	}
	p.child, p.control, p.crash, p.capture, p.logs, p.settings = l.child, l.conn, l.crash, errs, logs, s
	p.args = nil // which may be much
	family.add(p)
	if early != nil {
		early.become(p)
	} else {
		go p.collect()
	}
	return nil
}

// newCapture returns what is to be the child's standard error. If that is to be captured the file is the caller's to close, else it may
// be nil.
func (p *Process) newCapture(had standard.Variables) (*capture, *os.File, error) {
	stderr := p.Stderr
	if !p.CaptureStderr {
		return nil, stderr, nil
	}
	if stderr == nil && usable(had.Stderr) {
		stderr = had.Stderr
	}
	return newCapture(stderr)
}

// launched is a child, and what the parent has of it.
type launched struct {
	child *child
	conn  *wire.Conn
	crash int // its crash file, or -1
}

// launch executes a child, which finds in its control socket what first has written.
func launch(execute func(socket, crash int) (*child, error), first func(*wire.Conn) error) (l launched, err error) {
	ours, theirs, err := controlPair()
	if err != nil {
		return l, err
	}
	defer unix.Close(theirs)
	if l.conn, err = wire.New(ours); err != nil {
		return l, err
	}
	if err := first(l.conn); err != nil {
		l.conn.Close()
		return l, err
	}
	if l.crash, err = newCrashFile(); err != nil {
		l.crash = -1 // the child does without
	}
	if l.child, err = execute(theirs, l.crash); err != nil {
		l.conn.Close() // and with it what was written, descriptors included
		unix.Close(l.crash)
		return l, err
	}
	return l, nil
}

// execute starts this program, which had that in package os, with the socket as its control socket, a crash file if there is one, and this
// standard error.
func (p *Process) execute(had standard.Variables, socket, crash int, stderr *os.File) (*child, error) {
	attr := &syscall.ProcAttr{Dir: p.Dir, Sys: new(syscall.SysProcAttr)}
	if p.SysProcAttr != nil {
		*attr.Sys = *p.SysProcAttr
	}
	mark, err := formatMarker(socket, crash >= 0)
	if err != nil {
		return nil, err
	}
	if attr.Env, err = p.environment(mark); err != nil {
		return nil, err
	}
	if p.Dir != "" && p.SysProcAttr == nil {
		// Said here, it does not sound as if the program were missing.
		if _, err := os.Stat(p.Dir); err != nil {
			return nil, err
		}
	}
	files, done, err := p.standardFiles(had, stderr)
	if err != nil {
		return nil, err
	}
	defer done()
	argv := had.Args
	if len(argv) == 0 {
		argv = []string{mainName}
	}
	var c *child
	err = withDescriptors(files, nil, func(fds []uintptr) error {
		attr.Files = append(fds, uintptr(socket))
		if crash >= 0 {
			attr.Files = append(attr.Files, uintptr(crash))
		}
		c, err = startChild(attr, argv)
		return err
	})
	return c, err
}

// standardFiles returns what the child gets as its first three descriptors, until done is called.
func (p *Process) standardFiles(had standard.Variables, stderr *os.File) (files []*os.File, done func(), err error) {
	var opened []*os.File
	done = func() {
		for _, f := range opened {
			f.Close()
		}
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	opened = append(opened, null)
	files = []*os.File{p.Stdin, p.Stdout, stderr}
	for i, own := range []*os.File{null, had.Stdout, had.Stderr} {
		if files[i] == nil && !usable(own) {
			own = null // a program that has closed its output has children without
		}
		if files[i] == nil {
			files[i] = own
		}
		f, err := blocking(files[i])
		if err != nil {
			done()
			return nil, nil, fmt.Errorf("%s of the child: %w", standardNames[i], err)
		}
		if f != files[i] {
			opened = append(opened, f)
			files[i] = f
		}
	}
	return files, done, nil
}

var standardNames = [...]string{"stdin", "stdout", "stderr"}

// closedFile gives what a RawConn says of a closed file the name that callers know.
func closedFile(err error) error {
	if err != nil {
		return fs.ErrClosed
	}
	return nil
}

func usable(f *os.File) bool {
	raw, err := f.SyscallConn()
	return err == nil && raw.Control(func(uintptr) {}) == nil
}

// withDescriptors calls use with the descriptors of files. It does not call Fd, which may change what it looks at.
func withDescriptors(files []*os.File, fds []uintptr, use func([]uintptr) error) error {
	if len(files) == 0 {
		return use(fds)
	}
	raw, err := files[0].SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Control(func(fd uintptr) { result = withDescriptors(files[1:], append(fds, fd), use) })
	if err != nil {
		return err
	}
	return result
}

// environment returns the child's environment.
func (p *Process) environment(mark string) ([]string, error) {
	if p.Env == nil {
		env := os.Environ()
		if p.Dir != "" {
			// As os/exec does: PWD is how a shell or os.Getwd knows by which name it came there.
			if pwd, err := filepath.Abs(p.Dir); err == nil {
				env = append(deleteKey(env, "PWD"), "PWD="+pwd)
			}
		}
		return append(env, mark), nil
	}
	last := make(map[string]int, len(p.Env))
	for i, kv := range p.Env {
		if strings.IndexByte(kv, 0) >= 0 {
			return nil, errors.New("an environment variable contains a NUL")
		}
		last[envKey(kv)] = i
	}
	env := make([]string, 0, len(p.Env)+1)
	for i, kv := range p.Env {
		if key := envKey(kv); last[key] == i && key != marker {
			env = append(env, kv)
		}
	}
	return append(env, mark), nil
}

func envKey(kv string) string {
	key, _, _ := strings.Cut(kv, "=")
	return key
}

func deleteKey(env []string, key string) []string {
	return slices.DeleteFunc(env, func(kv string) bool { return envKey(kv) == key })
}

// collect waits for the child's end, and makes it known. It is the one goroutine that a child costs.
func (p *Process) collect() {
	if p.settings.victims == nil {
		p.settings.victims = ours()
	}
	p.collected(p.child.wait())
}

// collected makes the child's end known.
func (p *Process) collected(status syscall.WaitStatus, used sys.Usage, waitErr error) {
	conn := p.control
	// What the child wrote is here by now. Nothing else is to be waited for, whoever may have got the child's end of the socket.
	var r result
	resultErr := conn.Control(func(fd int) error {
		unix.Shutdown(fd, unix.SHUT_RD)
		return nil
	})
	if resultErr == nil {
		r, resultErr = receiveResult(conn)
	}
	conn.Close()
	var stderr string
	if p.capture != nil {
		stderr = p.capture.settle()
	}
	if p.logs != nil {
		p.logs.settle()
	}
	crashed := parseCrash(readCrashFile(p.crash))
	crashed.readWording(stderr)
	unix.Close(p.crash)
	e := decodeExit(status, waitErr, r, resultErr, crashed)
	e.beyondLimits(p, crashed, used)
	if e.err != nil {
		e.err.Name, e.err.PID = p.settings.name, p.child.pid
		if e.err.Stack != "" {
			stderr = withoutStacks(stderr)
		}
		e.err.Stderr = lastLines(stderr, tailLines)
	}

	p.mu.Lock()
	p.exit = e
	if p.killer != nil {
		p.killer.Stop()
	}
	p.mu.Unlock()
	p.child.release()
	family.remove(p)
	close(p.done)
	p.wakes.Wake()
}

// explain adds to an errno what it means here.
func explain(err error) error {
	var what string
	switch {
	case errors.Is(err, syscall.EAGAIN):
		what = "no more processes are allowed (RLIMIT_NPROC, or a cgroup's pids.max)"
	case errors.Is(err, syscall.EMFILE):
		what = "this process has no descriptor left (RLIMIT_NOFILE)"
	case errors.Is(err, syscall.E2BIG):
		what = "arguments and environment of the program are too large"
	default:
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}
