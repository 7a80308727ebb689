package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// marker is the environment variable that tells a child that it is one: "version:descriptor:inode" of its control socket, and
// ":descriptor" of its crash file if it has one.
//
// A variable alone proves nothing: it may have been copied out of a child's environment. So a process is a child only
// if it has that very socket, by its inode, and from its own parent. Anything else is a program that somebody started,
// and runs as such.
const marker = "MULTIPROC_CHILD"

// Where a child finds its control socket and its crash file: behind the standard descriptors.
const (
	controlFD = 3
	crashFD   = 4
)

// control is this process's control socket if it is a child, else -1; controlInode is its inode.
var control, controlInode = adopt()

// controlIsOurs reports whether the control socket is still what it was. A program may close all descriptors that
// it does not know, and use their numbers for others.
func controlIsOurs() bool {
	inode, ok := socketInode(control)
	return ok && inode == controlInode
}

// adopt runs with package initialisation, before that of any package that imports this one: no child of a later init
// function sees the variable or gets the descriptor.
func adopt() (fd int, inode uint64) {
	value, ok := os.LookupEnv(marker)
	if !ok {
		return -1, 0
	}
	os.Unsetenv(marker)
	var crash int
	fd, inode, crash, ok = parseMarker(value)
	if !ok {
		return -1, 0
	}
	if actual, ok := socketInode(fd); !ok || actual != inode {
		return -1, 0
	}
	if !fromParent(fd) {
		// Our parent's control socket, which it lost to us because something in it started us before its own
		// adopt. Whoever waits for the end of that socket must not wait for us.
		unix.Close(fd)
		return -1, 0
	}
	unix.CloseOnExec(fd)
	adoptCrashFile(crash)
	return fd, inode
}

// formatMarker is the parent's side.
func formatMarker(socket int, withCrashFile bool) (string, error) {
	inode, ok := socketInode(socket)
	if !ok {
		return "", errControlLost
	}
	m := fmt.Sprintf("%s=%d:%d:%d", marker, protocol, controlFD, inode)
	if withCrashFile {
		m += fmt.Sprintf(":%d", crashFD)
	}
	return m, nil
}

// parseMarker takes a marker apart. crash is -1 if there is no crash file.
func parseMarker(value string) (fd int, inode uint64, crash int, ok bool) {
	parts := strings.Split(value, ":")
	if len(parts) < 3 || len(parts) > 4 || parts[0] != strconv.Itoa(protocol) {
		return -1, 0, -1, false
	}
	fd, err := strconv.Atoi(parts[1])
	if err != nil || fd <= 2 {
		return -1, 0, -1, false
	}
	inode, err = strconv.ParseUint(parts[2], 10, 64)
	if err != nil {
		return -1, 0, -1, false
	}
	crash = -1
	if len(parts) == 4 {
		if crash, err = strconv.Atoi(parts[3]); err != nil || crash <= 2 || crash == fd {
			return -1, 0, -1, false
		}
	}
	return fd, inode, crash, true
}

// socketInode tells a socket from all others on the machine, as long as it is open.
func socketInode(fd int) (inode uint64, ok bool) {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&syscall.S_IFMT != syscall.S_IFSOCK {
		return 0, false
	}
	return uint64(st.Ino), true
}
