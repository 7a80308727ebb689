package syncfault

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Faults decide about the process's calls of fsync. Its methods are safe for concurrent use.
type Faults struct {
	errno  atomic.Int32
	failed atomic.Int64
	passed atomic.Int64
}

// Fail lets each fsync fail with that error from now on; with 0 the kernel does them again.
func (f *Faults) Fail(err syscall.Errno) { f.errno.Store(int32(err)) }

// Failed counts the calls that were made to fail.
func (f *Faults) Failed() int { return int(f.failed.Load()) }

// Passed counts the others.
func (f *Faults) Passed() int { return int(f.passed.Load()) }

// What the kernel says and is told; see seccomp_unotify(2).
type (
	notice struct {
		id    uint64
		pid   uint32
		flags uint32
		call  [64]byte
	}
	answer struct {
		id    uint64
		value int64
		err   int32
		flags uint32
	}
)

// Install puts a filter before all threads of this process, the future ones included: the kernel asks it about each fsync, and a goroutine that
// runs until the process ends answers. An error says that this kernel does not have that, or not for this process.
func Install() (*Faults, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, os.NewSyscallError("prctl", err)
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_FSYNC, Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_TSYNC|unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH, uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return nil, fmt.Errorf("syncfault: %w", os.NewSyscallError("seccomp", errno))
	}
	f := new(Faults)
	go f.decide(fd)
	return f, nil
}

func (f *Faults) decide(fd uintptr) {
	for {
		var asked notice // zero, or the kernel refuses it
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&asked)))
		switch errno {
		case 0:
		case unix.EINTR, unix.ENOENT: // the thread that asked was interrupted, and asks again
			continue
		default:
			return
		}
		says := answer{id: asked.id}
		if e := f.errno.Load(); e != 0 {
			says.err = -e
			f.failed.Add(1)
		} else {
			says.flags = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
			f.passed.Add(1)
		}
		unix.Syscall(unix.SYS_IOCTL, fd, unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&says)))
	}
}
