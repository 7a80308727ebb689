package process

import (
	"os"
	"os/signal"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/standard"
)

// circumstances are what a child takes over from this process when it is executed, as far as a program is likely to change that while it
// runs, and it can be found out quickly: this happens at every Start. A child that is ready and was executed under others is
// of no use any more: it may have the rights of a user whose rights this process has given up since.
type circumstances struct {
	std    standard.Variables
	env    []string
	dir    file // working directory
	root   file
	stdout file
	stderr file
	uids   [3]int // real, effective, saved
	gids   [3]int
	deaf   bool // to SIGINT
}

// A file tells a file from all others on the machine. The zero one is none.
type file struct{ dev, ino uint64 }

func circumstancesNow(had standard.Variables) *circumstances {
	c := &circumstances{
		std:    had,
		env:    os.Environ(),
		dir:    fileAt("."),
		root:   fileAt("/"),
		stdout: fileOf(had.Stdout),
		stderr: fileOf(had.Stderr),
		deaf:   signal.Ignored(syscall.SIGINT),
	}
	c.uids[0], c.uids[1], c.uids[2] = unix.Getresuid()
	c.gids[0], c.gids[1], c.gids[2] = unix.Getresgid()
	return c
}

func (c *circumstances) same(d *circumstances) bool {
	return c.dir == d.dir && c.root == d.root && c.stdout == d.stdout && c.stderr == d.stderr &&
		c.uids == d.uids && c.gids == d.gids && c.deaf == d.deaf && slices.Equal(c.std.Args, d.std.Args) && slices.Equal(c.env, d.env)
}

// execute executes a child under them.
func (c *circumstances) execute(attr *syscall.SysProcAttr) func(socket, crash int) (*child, error) {
	return func(socket, crash int) (*child, error) {
		p := Process{SysProcAttr: attr}
		return p.execute(c.std, socket, crash, nil)
	}
}

func fileAt(path string) file {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return file{}
	}
	return file{st.Dev, st.Ino}
}

func fileOf(f *os.File) (id file) {
	raw, err := f.SyscallConn()
	if err != nil {
		return file{}
	}
	raw.Control(func(fd uintptr) {
		var st unix.Stat_t
		if unix.Fstat(int(fd), &st) == nil {
			id = file{st.Dev, st.Ino}
		}
	})
	return id
}
