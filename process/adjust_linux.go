package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/handover"
)

// Adjustments are what the fields of a Process ask for, of a child that runs already: it applies them itself, before it calls
// its function. They are the second part of a job for the method forkserver. A child that is executed for the job gets them
// in the same way, so that nothing depends on whether one was ready.
type adjustments struct {
	dir     bool // the first descriptor is the working directory
	env     bool
	environ []string
	std     [3]bool // a descriptor each
	setsid  bool
	setpgid bool
	pgid    int
}

func (a *adjustments) encode() []byte {
	var e encoder
	e.flag(a.dir)
	e.flag(a.env)
	e.number(len(a.environ))
	for _, kv := range a.environ {
		e.text(kv)
	}
	for _, b := range a.std {
		e.flag(b)
	}
	e.flag(a.setsid)
	e.flag(a.setpgid)
	e.number(a.pgid)
	return e
}

func (a *adjustments) decode(data []byte) error {
	d := decoder{rest: data}
	a.dir = d.flag()
	a.env = d.flag()
	for n := d.number(); n > 0 && d.err == nil; n-- {
		a.environ = append(a.environ, d.text())
	}
	for i := range a.std {
		a.std[i] = d.flag()
	}
	a.setsid = d.flag()
	a.setpgid = d.flag()
	a.pgid = d.number()
	if d.err == nil && len(d.rest) > 0 {
		return fmt.Errorf("%d bytes too many", len(d.rest))
	}
	return d.err
}

// adjustments describes the fields of p, with this standard error. The descriptors are the caller's to close.
func (p *Process) adjustments(stderr *os.File) (adjustments, *handover.Message, error) {
	var a adjustments
	var fds []int
	if err := a.take(p, stderr, &fds); err != nil {
		closeAll(fds)
		return a, nil, err
	}
	return a, &handover.Message{Data: a.encode(), FDs: fds}, nil
}

func (a *adjustments) take(p *Process, stderr *os.File, fds *[]int) error {
	if err := a.attributes(p.SysProcAttr); err != nil {
		return err
	}
	if err := a.environment(p); err != nil {
		return err
	}
	if p.Dir != "" {
		// Opened here, it is what the name means here and now.
		fd, err := unix.Open(p.Dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "chdir", Path: p.Dir, Err: err}
		}
		a.dir = true
		*fds = append(*fds, fd)
	}
	for i, f := range []*os.File{p.Stdin, p.Stdout, stderr} {
		if f == nil {
			continue
		}
		fd, err := blockingDescriptor(f)
		if err != nil {
			return fmt.Errorf("%s of the child: %w", standardNames[i], err)
		}
		a.std[i] = true
		*fds = append(*fds, fd)
	}
	return nil
}

// blockingDescriptor is blocking, as a descriptor that the caller owns.
func blockingDescriptor(f *os.File) (fd int, err error) {
	b, err := blocking(f)
	if err != nil {
		return -1, err
	}
	if b != f {
		defer b.Close()
	}
	raw, err := b.SyscallConn()
	if err != nil {
		return -1, err
	}
	closed := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 3) })
	if closed != nil {
		return -1, closedFile(closed)
	}
	return fd, os.NewSyscallError("fcntl", err)
}

// attributes takes what a process can do to itself.
func (a *adjustments) attributes(attr *syscall.SysProcAttr) error {
	if attr == nil {
		return nil
	}
	a.setsid, a.setpgid, a.pgid = attr.Setsid, attr.Setpgid, attr.Pgid
	rest := *attr
	rest.PidFD, rest.Setsid, rest.Setpgid, rest.Pgid = nil, false, false, 0
	v := reflect.ValueOf(rest)
	for i := range v.NumField() {
		if !v.Field(i).IsZero() {
			return fmt.Errorf("SysProcAttr.%s has to be there when a process is executed, and a child of the method forkserver is executed before; leave it out, or use spawn or fork", v.Type().Field(i).Name)
		}
	}
	return nil
}

// attributesForExec takes back what attributes took, for a child that is only executed now.
func (a *adjustments) attributesForExec() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: a.setsid, Setpgid: a.setpgid, Pgid: a.pgid}
	a.setsid, a.setpgid, a.pgid = false, false, 0
	return attr
}

// environment takes p.Env, if it has nothing that would come too late.
func (a *adjustments) environment(p *Process) error {
	if p.Env == nil {
		if p.Dir == "" {
			return nil
		}
		pwd, err := filepath.Abs(p.Dir)
		if err != nil {
			return nil
		}
		a.env, a.environ = true, append(deleteKey(os.Environ(), "PWD"), "PWD="+pwd)
		return nil
	}
	env, err := p.environment("")
	if err != nil {
		return err
	}
	env = env[:len(env)-1] // the marker
	for _, kv := range env {
		if strings.IndexByte(kv, '=') <= 0 {
			return fmt.Errorf("%q in Env is not of the form key=value", kv)
		}
	}
	if key := changedEarly(os.Environ(), env); key != "" {
		return fmt.Errorf("%s differs in Env, which a process reads when it begins, and a child of the method forkserver begins with the environment of its parent; leave it as it is there, or use spawn or fork", key)
	}
	a.env, a.environ = true, env
	return nil
}

// changedEarly returns the name of a variable that differs between two environments and is read early.
func changedEarly(ours, theirs []string) string {
	for _, both := range [][2][]string{{ours, theirs}, {theirs, ours}} {
		for _, kv := range both[0] {
			if readEarly(envKey(kv)) && !slices.Contains(both[1], kv) {
				return envKey(kv)
			}
		}
	}
	return ""
}

// readEarly reports whether a variable is read by the dynamic linker or the Go runtime, once, when a process begins.
func readEarly(key string) bool {
	switch key {
	case "GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GOTRACEBACK", "GODEBUG", "TZ":
		return true
	}
	return strings.HasPrefix(key, "LD_")
}

// adjust does to this process what they ask for.
func (j *job) adjust() error {
	if len(j.data) != 2 {
		return errors.New("the adjustments of the child are missing")
	}
	var a adjustments
	fds := j.takeFDs(1)
	defer func() { closeAll(fds) }()
	if err := a.decode(j.data[1]); err != nil {
		return fmt.Errorf("the adjustments of the child: %w", err)
	}
	next := func() (fd int, err error) {
		if len(fds) == 0 {
			return -1, errors.New("a descriptor of the adjustments is missing")
		}
		fd, fds = fds[0], fds[1:]
		return fd, nil
	}
	if a.setsid {
		if _, err := unix.Setsid(); err != nil {
			return os.NewSyscallError("setsid", err)
		}
	}
	if a.setpgid {
		if err := unix.Setpgid(0, a.pgid); err != nil {
			return os.NewSyscallError("setpgid", err)
		}
	}
	if a.dir {
		fd, err := next()
		if err != nil {
			return err
		}
		err = unix.Fchdir(fd)
		unix.Close(fd)
		if err != nil {
			return os.NewSyscallError("fchdir", err)
		}
	}
	for i, set := range a.std {
		if !set {
			continue
		}
		fd, err := next()
		if err != nil {
			return err
		}
		if err := replaceDescriptor(fd, i); err != nil {
			return fmt.Errorf("%s: %w", standardNames[i], err)
		}
	}
	if a.env {
		os.Clearenv()
		for _, kv := range a.environ {
			key, value, _ := strings.Cut(kv, "=")
			if err := os.Setenv(key, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// replaceDescriptor makes target what fd is, and closes fd. os.Stdout and its like keep their numbers, and so whoever has
// them already, package log for one, writes to what is there now.
func replaceDescriptor(fd, target int) error {
	if fd <= 2 { // this program has closed one of the three
		high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		unix.Close(fd)
		if err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		fd = high
	}
	err := unix.Dup3(fd, target, 0)
	unix.Close(fd)
	return os.NewSyscallError("dup3", err)
}
